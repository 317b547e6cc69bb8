//go:build linux

package enginetest

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// impostor has a program of the image, which runs as the workspace's own user, claim from its
// first moment that another key is the guest's.
func impostor(t *testing.T, s Subject) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	evil := keyway.PublicHostKey(public)
	spec := s.Spec(t, "impostor")
	home := string(keyway.GuestHome)
	if s.Home != nil {
		home = s.Home(spec.Name)
	}
	spec.Command = []string{s.Tool, "impostor", home, evil}
	w := s.Create(t, spec)
	check := func(when string, w keyway.Workspace) {
		t.Helper()
		if w.Guest.HostKey == "" || w.Guest.HostKey == evil {
			t.Errorf("%s the host key is %q, the image's own is %q", when, w.Guest.HostKey, evil)
		}
	}
	check("after Create", w)
	ctx := Context(t)
	for { // until it has had its say
		if said, err := s.Try(t, w, "cat "+home+"/guest.json"); err == nil && strings.Contains(said, evil) {
			break
		}
		if err := sleep.For(ctx, 10*time.Millisecond); err != nil {
			t.Fatal("the impostor says nothing")
		}
	}
	s.Client(t, w) // its key is the reported one
	for range 3 {
		now, _ := s.State(t, w.Name)
		check("in a list", now)
	}
	if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
		t.Fatal(err)
	}
	stopped, _ := s.State(t, w.Name)
	check("stopped", stopped)
	if err := s.Engine.Start(Context(t), w.Name); err != nil {
		t.Fatal(Full(err))
	}
	s.Client(t, w)
}

// robberUID is a user whom no workspace runs as and who owns no Home.
const robberUID = "61236"

// robber has a second user in the workspace try to take, replace or use what belongs to the
// guest.
func robber(t *testing.T, s Subject) {
	if !s.Walled {
		return // another user of the machine is not in the workspace
	}
	w := s.Create(t, s.Spec(t, "robbed"))
	session, err := s.Client(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if out, err := session.CombinedOutput("keyway run -d --as job -- " + s.Tool + " hang"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for round := range 2 {
		if got := s.Run(t, w, "as "+robberUID+" rob "+string(keyway.GuestHome)); got != "" {
			t.Errorf("round %d: another user of the workspace\n%s", round, got)
		}
		s.Client(t, w) // nothing has changed
		if round > 0 {
			break
		}
		if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
			t.Fatal(err)
		}
		if err := s.Engine.Start(Context(t), w.Name); err != nil {
			t.Fatalf("what the other user left is in the way: %s", Full(err))
		}
	}
}

// peeker has a program of the workspace's own user look for the host key.
func peeker(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "peeked"))
	home := s.Run(t, w, "env "+keyway.EnvHome)
	got := s.Run(t, w, "peek "+home)
	if !s.Walled {
		// There is no wall between processes of one user, but the key is not there.
		var keys []string
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "a key in ") {
				keys = append(keys, line)
			}
		}
		got = strings.Join(keys, "")
	}
	if got != "" {
		t.Errorf("a program of the workspace\n%s", got)
	}
	if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.Guest.HostKey)); err != nil || key.Type() != ssh.KeyAlgoED25519 {
		t.Errorf("the host key is %s, %v", w.Guest.HostKey, err)
	}
}
