package sshconfig

import (
	"os"
	"strings"
	"testing"
)

func TestMuxObstacle(t *testing.T) {
	const ours = "/run/keyway/mux/train"
	usual := "host train\nforwardagent no\nforwardx11 no\nsessiontype default\nstdinnull no\nforkafterauthentication no\ntunnel false\n"
	for more, want := range map[string]string{
		"":                                    "",
		"controlpath " + ours:                 "",
		"controlpath none":                    "",
		"controlpath /home/me/cm-%C":          "ControlPath /home/me/cm-%C",
		"localforward 1 [a]:1":                "localforward 1 [a]:1",
		"remoteforward 1 [a]:1":               "remoteforward 1 [a]:1",
		"dynamicforward 1080":                 "dynamicforward 1080",
		"sessiontype none":                    "sessiontype none",
		"localcommand x":                      "localcommand x",
		"localcommand none":                   "",
		"setenv A=B":                          "setenv A=B",
		"forwardagent yes":                    "forwardagent yes",
		"forwardagent /run/other":             "forwardagent /run/other",
		"tunnel point-to-point":               "tunnel point-to-point",
		"stdinnull yes":                       "stdinnull yes",
		"forkafterauthentication yes":         "forkafterauthentication yes",
		"loglevel VERBOSE":                    "loglevel VERBOSE",
		"loglevel INFO":                       "",
		"sendenv LANG":                        "",
		"remotecommand echo\nrequesttty auto": "",
	} {
		if got := muxObstacle(usual+more+"\n", ours); got != want {
			t.Errorf("%q: %q, want %q", more, got, want)
		}
	}
}

func TestOnlyWhatIsSwitchedOnHasTheMux(t *testing.T) {
	s := Open(t.TempDir(), Client{Program: "/usr/bin/keyway", Mux: "/run/keyway/mux"})
	add(t, s, entry("train"))
	config := func() string {
		data, err := os.ReadFile(s.ConfigPath())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const path = "  ControlMaster no\n  ControlPath \"/run/keyway/mux/train\"\n"
	if strings.Contains(config(), "ControlPath") {
		t.Errorf("it is on by itself: %s", config())
	}
	if err := s.SetMux(entry("train"), true); err != nil {
		t.Fatal(err)
	}
	add(t, s, entry("train")) // known once more
	if !strings.Contains(config(), path) {
		t.Errorf("it is not on: %s", config())
	}
	forwarding := entry("train")
	forwarding.ForwardAgent = true
	add(t, s, forwarding)
	if strings.Contains(config(), "ControlPath") {
		t.Errorf("it is on where the agent is forwarded: %s", config())
	}
	add(t, s, entry("train"))
	if err := s.SetMux(entry("train"), false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(config(), "ControlPath") {
		t.Errorf("it is still on: %s", config())
	}
}
