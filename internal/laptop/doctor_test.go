package laptop

import (
	"strings"
	"testing"

	"keyway/internal/sshconfig"
)

func TestClientVersion(t *testing.T) {
	for said, want := range map[string][2]int{
		"OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026": {9, 2},
		"OpenSSH_for_Windows_9.5p1, LibreSSL 3.8.2":                   {9, 5},
		"OpenSSH_10.0p2 Debian-5":                                     {10, 0},
		"OpenSSH_8.10":                                                {8, 10},
	} {
		if got, ok := clientVersion(said); !ok || got != want {
			t.Errorf("%q: %v, %v", said, got, ok)
		}
	}
	for _, said := range []string{"", "Dropbear v2022.83", "OpenSSH_", "OpenSSH_x.y", "OpenSSH_-9.-2", "OpenSSH_9"} {
		if got, ok := clientVersion(said); ok {
			t.Errorf("%q was taken for %v", said, got)
		}
	}
}

func FuzzClientVersion(f *testing.F) {
	f.Add("OpenSSH_9.2p1")
	f.Add("OpenSSH_for_Windows_9.5p1")
	f.Fuzz(func(t *testing.T, said string) {
		if v, ok := clientVersion(said); ok && (v[0] < 0 || v[1] < 0 || v[0] > 999 || v[1] > 999) {
			t.Errorf("%q gave %v", said, v)
		}
	})
}

func TestJudgeHost(t *testing.T) {
	for command, want := range map[string]Health{
		"/bin/sh proxy train":           Healthy,
		`/no\ where/100%%/keyway proxy`: Failing,
		"":                              Failing,
		"nc -X connect jump 22":         Failing,
	} {
		got := judgeHost("train", sshconfig.Host{HostName: "train", ProxyCommand: command}, 1)
		if got.Health != want || want != Healthy && got.Next == "" && got.Advice == nil {
			t.Errorf("%q: %+v", command, got)
		}
	}
	if got := judgeHost("train", sshconfig.Host{ProxyCommand: `/no\ where/100%%/keyway proxy x`}, 1); !strings.Contains(got.Message, "/no where/100%/keyway") {
		t.Errorf("the path is not named as it is: %s", got.Message)
	}
}
