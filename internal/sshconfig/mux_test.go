package sshconfig

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
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
		"gatewayports yes":                    "gatewayports yes",
		"streamlocalbindunlink yes":           "streamlocalbindunlink yes",
		"pubkeyauthentication true":           "",
		"pubkeyauthentication false":          "pubkeyauthentication false",
		"revokedhostkeys /etc/ssh/revoked":    "revokedhostkeys /etc/ssh/revoked",
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

// TestFilesChange checks that every file that ssh would read is examined, including one that did
// not exist before.
func TestFilesChange(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"the file itself":                         func(dir string) error { return write(dir, "config", "Include */*.conf none/*.conf one\n") },
		"a file that it includes":                 func(dir string) error { return write(dir, "one", "Host train\n  SessionType none\n") },
		"a file that a pattern has found":         func(dir string) error { return os.Remove(filepath.Join(dir, "some", "a.conf")) },
		"a file that a pattern finds":             func(dir string) error { return write(dir, "some/b.conf", "") },
		"a file in a directory where nothing was": func(dir string) error { return write(dir, "none/b.conf", "") },
		"nothing": func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{
				"config": "Include DIR/some/*.conf DIR/none/*.conf DIR/one\n", "one": "Host other\n", "some/a.conf": "", "none/README": "",
			} {
				if err := write(dir, file, strings.ReplaceAll(text, "DIR", dir)); err != nil {
					t.Fatal(err)
				}
			}
			files, err := resolver{options: []string{"-F", filepath.Join(dir, "config")}}.files(t.Context(), "train")
			if err != nil || files.Changed() {
				t.Fatalf("%v has changed already, %v", files, err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if files.Changed() == (name == "nothing") {
				t.Errorf("%v has changed: %t", files, files.Changed())
			}
		})
	}
	if !(Files{}).Changed() {
		t.Error("files that nobody knows of have not changed")
	}
}

// TestFilesOfNewDirectories checks patterns that may match in a directory that does not exist yet,
// and files that ssh reads anyway: ssh -v reports neither.
func TestFilesOfNewDirectories(t *testing.T) {
	for _, made := range []string{"home/.ssh/config", "conf/a/b/y.conf", "conf/a/new/y.conf", "conf/new/b/y.conf", "none/new/y.conf", "home/.ssh/conf.d/new/y.conf"} {
		dir := t.TempDir()
		t.Setenv("HOME", filepath.Join(dir, "home"))
		for file, text := range map[string]string{
			"home/.ssh/config": "Include DIR/conf/*/*/*.conf DIR/none/*/*.conf conf.d/*/y.conf\n", "home/.ssh/conf.d/README": "",
			"conf/a/b/x.conf": "", "none/README": "", "empty/config": "",
		} {
			if file == made {
				continue
			}
			if err := write(dir, file, strings.ReplaceAll(text, "DIR", dir)); err != nil {
				t.Fatal(err)
			}
		}
		config := filepath.Join(dir, "home/.ssh/config")
		if made == "home/.ssh/config" {
			config = filepath.Join(dir, "empty/config")
		}
		files, err := resolver{options: []string{"-F", config}}.files(t.Context(), "train")
		if err != nil || files.Changed() {
			t.Fatalf("%v has changed already, %v", files, err)
		}
		if err := write(dir, made, "Host train\n  SessionType none\n"); err != nil {
			t.Fatal(err)
		}
		if !files.Changed() {
			t.Errorf("%s is not seen: %v", made, files)
		}
		if !strings.HasPrefix(made, "home/.ssh/config") && !slices.Contains(ReadNames(filepath.Join(dir, "home")).Sources, filepath.Dir(filepath.Dir(filepath.Join(dir, made)))) {
			t.Errorf("names of hosts: %s is not seen", made)
		}
	}
}

// TestFilesOfABrokenConfiguration checks that messages that ssh -v prints before the fault are
// not taken for the reason.
func TestFilesOfABrokenConfiguration(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, "config", "Bogus yes\n"); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	_, err := resolver{options: []string{"-F", config}}.files(t.Context(), "train")
	if want := "ssh cannot read its configuration: " + config + ": line 1: Bad configuration option"; !keyway.Is(err, keyway.BadConfig) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func write(dir, file, text string) error {
	path := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return keyway.WriteFile(path, []byte(text), 0o600)
}
