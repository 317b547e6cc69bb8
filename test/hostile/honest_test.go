//go:build linux

package hostile

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// TestKeysThatArePresented checks that a place gets the public keys that may enter there, and no
// others.
func TestKeysThatArePresented(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	usual, err := os.ReadFile(l.path(".ssh/id_ed25519.pub"))
	if err != nil {
		t.Fatal(err)
	}
	byDefault, work, extra := strings.TrimSpace(string(usual)), l.newKey("work"), l.newKey("extra")
	fingerprint := func(line string) string {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		return ssh.FingerprintSHA256(key)
	}
	config := "Host gpu1\n  HostName 10.0.7.31\n"
	for what, c := range map[string]struct {
		config string
		args   []string
		want   []string
	}{
		"those of ssh's usual files":  {"", nil, []string{byDefault}},
		"that of the place":           {"  IdentityFile ~/.ssh/work\n", nil, []string{work}},
		"those of every host":         {"Host *\n  IdentityFile ~/.ssh/work\n  IdentityFile ~/.ssh/extra\n", nil, []string{work, extra}},
		"none that the agent holds":   {"  IdentityFile ~/.ssh/absent\n", nil, []string{byDefault, work, extra}},
		"one by its file":             {"  IdentityFile ~/.ssh/work\n", []string{"--key", l.path(".ssh/extra")}, []string{extra}},
		"two by fingerprint and name": {"", []string{"--key", fingerprint(extra), "--key", "work@laptop"}, []string{extra, work}},
	} {
		l.write(".ssh/config", config+c.config)
		g := l.startGuest()
		l.says(gpu1, fileGuest, g.socket)
		l.says(gpu1, fileCreate, created(workspace("train", g)))
		r := l.keyway(append([]string{"up", "--on", gpu1, "--name", "train"}, c.args...)...)
		wants(t, r, 0)
		body, err := os.ReadFile(l.path("places/gpu1/" + fileAsked))
		var asked keyway.Spec
		if err == nil {
			err = json.Unmarshal(body, &asked)
		}
		if err != nil || !slices.Equal(asked.AuthorizedKeys, c.want) {
			t.Errorf("%s: %q, want %q, %v", what, asked.AuthorizedKeys, c.want, err)
		}
		for _, key := range c.want {
			wants(t, r, 0, fingerprint(key))
		}
		wants(t, l.keyway("rm", "train"), 0)
	}
	wants(t, l.keyway("up", "--on", gpu1, "--name", "train", "--key", "nothing"), keyway.ExitCode(keyway.Errorf(keyway.NoKey, "")), "nothing")
}

// TestPlacesThatAreAsked checks that two names of one machine are asked once, and list each
// workspace once, and that a place without a workspace is asked only with -a.
func TestPlacesThatAreAsked(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.write(".ssh/config", "Host gpu1 same\n  HostName 10.0.7.31\nHost idle\n  HostName 10.0.7.32\n")
	g, other := l.startGuest(), l.startGuest()
	l.up("train", g)
	l.says("same", fileGuest, other.socket)
	l.says("same", fileCreate, created(workspace("eval", other)))
	wants(t, l.keyway("up", "--on", "same", "--name", "eval"), 0)
	for _, place := range []string{gpu1, "same"} {
		l.says(place, fileList, listing(workspace("eval", other), workspace("train", g)))
	}
	l.says("idle", fileList, listing(workspace("stranger", g)))
	hosts, err := os.ReadFile(l.path("state/keyway/hosts.json"))
	if err != nil {
		t.Fatal(err)
	}
	l.write("state/keyway/hosts.json", strings.Replace(string(hosts), `"places": [`, `"places": [ "idle",`, 1))
	r := l.keyway("ls")
	wants(t, r, 0)
	if strings.Count(r.stdout, "\n") != 3 || strings.Count(r.stdout, "train") != 1 || strings.Count(r.stdout, "eval") != 1 {
		t.Errorf("%s", r)
	}
	wants(t, l.keyway("ls", "-a"), 0, "stranger", "keyway add idle/stranger")
	wants(t, l.keyway("forget", "idle"), 0)
	if r := l.keyway("ls", "-a"); strings.Contains(r.stdout, "stranger") {
		t.Errorf("%s", r)
	}
}

// TestUpWord checks that a word after up that is not a template gets the error for its likely
// meaning.
func TestUpWord(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.up("train", l.startGuest())
	for word, says := range map[string]string{
		gpu1: "keyway up --on gpu1", "bastion": "keyway up --on bastion", "local": "keyway up --on local",
		"train": "ssh train", "pytroch": "keyway up pytorch",
	} {
		wants(t, l.keyway("up", word), keyway.ExitCode(keyway.Errorf(keyway.Usage, "")), says)
	}
}

// TestPinOfAnEarlierKeyway checks that pins of an earlier keyway are read, strict for ssh, and
// proved by the first connection.
func TestPinOfAnEarlierKeyway(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	g := l.startGuest()
	l.says(gpu1, fileGuest, g.socket)
	l.write("state/keyway/hosts.json", `{"version": 1, "places": ["gpu1"], "workspaces": [{"name": "old.name", "place": "gpu1", "engine": "docker",
		"user": "root", "hostKey": "`+g.public()+`", "created": "2026-11-24T08:00:00Z", "added": "2026-11-24T08:00:00Z"}]}`)
	wants(t, l.keyway("init", "--yes"), 0)
	known := func() string { return l.files()["state/keyway/known_hosts"] }
	if known() != "" {
		t.Errorf("the agent takes for a workspace what has proved nothing: %s", known())
	}
	proxy := exec.Command(program, "proxy", "old.name")
	proxy.Env = l.env
	if out, err := proxy.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.HasPrefix(known(), "old.name.keyway ssh-ed25519 ") {
		t.Errorf("after the first connection the agent knows %q", known())
	}
}
