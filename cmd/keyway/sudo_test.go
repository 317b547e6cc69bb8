package main

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestSudo checks that, under sudo, errors say that root's keys and hosts are in use, and that root
// writes nothing into the home directory of another user.
func TestSudo(t *testing.T) {
	missing := keyway.Errorf(keyway.UnknownPlace, "there is no host gpu1").Hint("name one")
	if e := (sudoer{name: "ada"}).advise(missing); !strings.HasPrefix(e.Next, "name one\nroot has other keys") || !strings.Contains(e.Next, "ada") {
		t.Errorf("advised is %q", e.Next)
	}
	if e := (sudoer{}).advise(missing); e.Next != "name one" {
		t.Errorf("without sudo, advised is %q", e.Next)
	}
	if e := (sudoer{name: "ada"}).advise(keyway.Errorf(keyway.Usage, "no")); e.Next != "" {
		t.Errorf("of a mistyped option, advised is %q", e.Next)
	}
	if err := (sudoer{name: "ada", home: true}).refusal(); !keyway.Is(err, keyway.Usage) {
		t.Errorf("in the home directory of another: %v", err)
	}
	for _, who := range []sudoer{{}, {name: "ada"}} {
		if err := who.refusal(); err != nil {
			t.Errorf("%+v: %v", who, err)
		}
	}
}
