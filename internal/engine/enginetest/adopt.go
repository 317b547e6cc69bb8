//go:build linux

package enginetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// adopter is an engine that makes workspaces of containers that others have made.
type adopter interface {
	Containers(ctx context.Context) ([]keyway.Container, error)
	Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error)
}

// Foreign describes how others make a container.
type Foreign struct {
	Name     string
	User     string
	Env      []string
	ReadOnly bool
	Dropped  bool // without any capability
}

// AdoptLab is a platform on which others make containers too.
type AdoptLab struct {
	// Other is the same platform for another owner.
	Other Subject
	// Make has a container run in which nothing is but the tool, and removes it when the
	// test ends.
	Make func(t testing.TB, f Foreign)
	// Do does with the container what its owner does: start, stop, restart, pause, unpause
	// or rm.
	Do func(t testing.TB, verb, container string)
	// First tells one life of the container's first process from all others; empty: none.
	First func(t testing.TB, container string) string
	// Has reports whether the container has a file, also if it does not run.
	Has func(t testing.TB, container, path string) bool
}

// Adopt tests the contract of an engine that adopts, or the named parts of it.
func Adopt(t *testing.T, s Subject, lab AdoptLab, parts ...string) {
	for _, test := range []struct {
		name string
		test func(*testing.T, Subject, AdoptLab)
	}{
		{"Enter", adoptEnter},
		{"StopAndStart", adoptStop},
		{"Removed", adoptRemoved},
		{"Restarted", adoptRestarted},
		{"MadeAnew", adoptMadeAnew},
		{"Users", adoptUsers},
		{"Refused", adoptRefused},
		{"OfAnother", adoptOfAnother},
		{"TwoAtOnce", adoptTwo},
		{"CancelLeavesNothing", adoptCancel},
		{"Hostile", adoptHostile},
	} {
		if len(parts) == 0 || slices.Contains(parts, test.name) {
			t.Run(test.name, func(t *testing.T) { test.test(t, s, lab) })
		}
	}
}

// adopt makes a workspace of that name of the container, and removes it when the test ends.
func (s Subject) adopt(t testing.TB, name keyway.Name, container string) keyway.Workspace {
	t.Helper()
	w, err := s.tryAdopt(Context(t), t, keyway.Adoption{Name: name, Container: container})
	if err != nil {
		t.Fatalf("adopting %s: %v", container, Full(err))
	}
	return w
}

func (s Subject) tryAdopt(ctx context.Context, t testing.TB, a keyway.Adoption) (keyway.Workspace, error) {
	t.Helper()
	e, ok := s.Engine.(adopter)
	if !ok {
		t.Fatalf("the engine %s does not adopt", s.Engine.Name())
	}
	a.AuthorizedKeys = []string{AuthorizedKey(t)}
	w, err := e.Adopt(ctx, a, Quiet)
	if err == nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := s.Engine.Remove(ctx, a.Name); err != nil && !keyway.Is(err, keyway.NotFound) {
				t.Errorf("Remove %s: %v", a.Name, Full(err))
			}
		})
	}
	return w, err
}

// do fails the test if a step that must work has failed.
func do(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, Full(err))
	}
}

// wantUntouched fails the test unless the container's first process is the one of before.
func (lab AdoptLab) wantUntouched(t testing.TB, container, before string) {
	t.Helper()
	if now := lab.First(t, container); now == "" || now != before {
		t.Errorf("the first process of %s is %q, and was %q", container, now, before)
	}
}

func adoptEnter(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web", Env: []string{"FROM_OUTSIDE=yes"}})
	before := lab.First(t, "web")
	w := s.adopt(t, "enter", "web")
	if w.State != keyway.Running || w.Engine != s.Engine.Name() || w.Container != "web" || w.Guest.HostKey == "" {
		t.Errorf("Adopt returned %+v", w)
	}
	for args, want := range map[string]string{"env " + keyway.EnvName: "enter", "env FROM_OUTSIDE": "yes", "id": "0:0"} {
		if got := s.Run(t, w, args); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	listed, _ := s.State(t, "enter")
	if listed.State != keyway.Running || listed.Guest != w.Guest || listed.Container != "web" || listed.Sessions != 0 || listed.Reason != "" {
		t.Errorf("List tells %+v of %+v", listed, w)
	}
	if got := s.foreign(t, "web"); got.Workspace != "enter" || got.Engine != s.Engine.Name() || !keyway.IsContainerID(got.ID) {
		t.Errorf("Containers tells %+v", got)
	}
	lab.wantUntouched(t, "web", before)
	_, err := s.Engine.Create(Context(t), s.Spec(t, "enter"), Quiet)
	WantKind(t, err, keyway.NameTaken)
}

// foreign returns what Containers reports about a container.
func (s Subject) foreign(t testing.TB, name string) (found keyway.Container) {
	t.Helper()
	list, err := s.Engine.(adopter).Containers(Context(t))
	do(t, "Containers", err)
	for _, c := range list {
		if c.Name == name {
			found = c
		}
	}
	return found
}

func adoptStop(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	before := lab.First(t, "web")
	w := s.adopt(t, "again", "web")
	session, err := s.Client(t, w).NewSession()
	do(t, "a session", err)
	if out, err := session.CombinedOutput("keyway run -d --as one -- " + s.Tool + " hang"); err != nil {
		t.Fatalf("starting a session: %v: %s", err, out)
	}
	if now, _ := s.State(t, w.Name); now.Sessions != 1 {
		t.Errorf("%d sessions, want 1", now.Sessions)
	}
	for range 2 {
		do(t, "Stop", s.Engine.Stop(Context(t), w.Name, time.Second))
	}
	now, _ := s.State(t, w.Name)
	if now.State != keyway.Stopped || now.Reason == "" || now.Sessions != 0 {
		t.Errorf("after Stop it is %s: %q", now.State, now.Reason)
	}
	_, err = s.Engine.Dial(Context(t), w.Name)
	WantKind(t, err, keyway.NotRunning)
	for range 2 {
		do(t, "Start", s.Engine.Start(Context(t), w.Name))
	}
	if now, _ := s.State(t, w.Name); now.State != keyway.Running || now.Guest.HostKey != w.Guest.HostKey {
		t.Errorf("after Start it is %+v", now)
	}
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "again" { // and the host key is the same
		t.Errorf("after Start: %q", got)
	}
	lab.wantUntouched(t, "web", before)
}

func adoptRemoved(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	before := lab.First(t, "web")
	first := s.adopt(t, "removed", "web")
	do(t, "Remove", s.Engine.Remove(Context(t), "removed"))
	s.WantNothingOf(t, "removed")
	if lab.Has(t, "web", string(keyway.GuestHome)) {
		t.Error("the container has files of the guest still")
	}
	lab.wantUntouched(t, "web", before)
	WantKind(t, s.Engine.Remove(Context(t), "removed"), keyway.NotFound)
	if got := s.foreign(t, "web"); got.Name == "" || got.Workspace != "" {
		t.Errorf("Containers tells %+v", got)
	}
	second := s.adopt(t, "second", "web")
	if first.Guest.HostKey == second.Guest.HostKey {
		t.Error("a new workspace has its predecessor's host key")
	}
	do(t, "Remove", s.Engine.Remove(Context(t), "second"))
	third := s.adopt(t, "third", "web") // which finds nothing of the two before
	if got := s.Run(t, third, "ls "+string(keyway.GuestHome)+"/data/sessions"); got != "" {
		t.Errorf("left of the one before: %q", got)
	}
	lab.wantUntouched(t, "web", before)
}

func adoptRestarted(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	w := s.adopt(t, "restarted", "web")
	lab.Do(t, "restart", "web")
	now := s.Await(t, w.Name, keyway.Stopped)
	if now.Sessions != 0 || !strings.Contains(now.Reason, "guest") {
		t.Errorf("List says %q, %d sessions", now.Reason, now.Sessions)
	}
	do(t, "Start", s.Engine.Start(Context(t), w.Name))
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "restarted" {
		t.Errorf("after Start: %q", got)
	}
	lab.Do(t, "pause", "web")
	if now, _ := s.State(t, w.Name); now.State != keyway.Broken || !strings.Contains(now.Reason, "paused") {
		t.Errorf("paused, it is %s: %q", now.State, now.Reason)
	}
	for _, err := range []error{s.Engine.Start(Context(t), w.Name), s.Engine.Stop(Context(t), w.Name, 0), s.Engine.Remove(Context(t), w.Name)} {
		WantKind(t, err, keyway.NotRunning) // a pause is the owner's affair
	}
	lab.Do(t, "unpause", "web")
	lab.Do(t, "stop", "web")
	s.Await(t, w.Name, keyway.Stopped)
	WantKind(t, s.Engine.Start(Context(t), w.Name), keyway.NotRunning)
	do(t, "Stop", s.Engine.Stop(Context(t), w.Name, 0))
	do(t, "Remove", s.Engine.Remove(Context(t), w.Name))
	s.WantNothingOf(t, w.Name)
	if lab.First(t, "web") != "" {
		t.Error("the container was started")
	}
	if lab.Has(t, "web", keyway.GuestHome.Bin()) {
		t.Error("the stopped container has the guest program still")
	}
	lab.Do(t, "start", "web")
	s.adopt(t, "again", "web") // the remains of the first one in the container do not matter
}

// adoptMadeAnew replaces the adopted container by another one of that name. Nothing may be put into
// it, and the name must prove nothing.
func adoptMadeAnew(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	w := s.adopt(t, "anew", "web")
	lab.Do(t, "rm", "web")
	lab.Make(t, Foreign{Name: "web"})
	before := lab.First(t, "web")
	if now, there := s.State(t, w.Name); there {
		t.Errorf("List still tells of it: %+v", now)
	}
	_, err := s.Engine.Dial(Context(t), w.Name)
	for _, err := range []error{err, s.Engine.Start(Context(t), w.Name), s.Engine.Stop(Context(t), w.Name, 0)} {
		WantKind(t, err, keyway.NotFound)
	}
	do(t, "Remove", s.Engine.Remove(Context(t), w.Name))
	s.WantNothingOf(t, w.Name)
	lab.wantUntouched(t, "web", before)
	s.adopt(t, "anew", "web")
}

func adoptUsers(t *testing.T, s Subject, lab AdoptLab) {
	for name, c := range map[string]struct {
		made Foreign
		user string
		want string
	}{
		"root, and another inside": {Foreign{Name: "web"}, "12345:54321", "12345:54321"},
		"another, and root inside": {Foreign{Name: "web", User: "12345:54321"}, "0:0", "0:0"},
		"no capabilities":          {Foreign{Name: "web", User: "12345:54321", Dropped: true}, "", "12345:54321"},
	} {
		t.Run(name, func(t *testing.T) {
			lab.Make(t, c.made)
			w, err := s.tryAdopt(Context(t), t, keyway.Adoption{Name: "user", Container: "web", User: c.user})
			do(t, "Adopt", err)
			if got := s.Run(t, w, "id"); got != c.want {
				t.Errorf("programs run as %s", got)
			}
			if now, _ := s.State(t, "user"); now.State != keyway.Running {
				t.Errorf("it is %s: %s", now.State, now.Reason)
			}
			do(t, "Remove", s.Engine.Remove(Context(t), "user"))
			w = s.adopt(t, "user", "web") // nothing is left that would be in the way
			do(t, "Remove", s.Engine.Remove(Context(t), w.Name))
			lab.Do(t, "rm", "web")
		})
	}
}

func adoptRefused(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "fixed", ReadOnly: true})
	lab.Make(t, Foreign{Name: "paused"})
	lab.Do(t, "pause", "paused")
	lab.Make(t, Foreign{Name: "stopped"})
	lab.Do(t, "stop", "stopped")
	lab.Make(t, Foreign{Name: "web"})
	s.adopt(t, "taken", "web")
	for _, c := range []struct {
		what string
		a    keyway.Adoption
		kind keyway.Kind
		says string
	}{
		{"absent", keyway.Adoption{Container: "no-such-container"}, keyway.NotFound, "no-such-container"},
		{"read-only", keyway.Adoption{Container: "fixed"}, keyway.Usage, "read-only"},
		{"paused", keyway.Adoption{Container: "paused"}, keyway.NotRunning, "unpause"},
		{"stopped", keyway.Adoption{Container: "stopped"}, keyway.NotRunning, "start stopped"},
		{"twice", keyway.Adoption{Container: "web"}, keyway.NameTaken, "taken"},
		{"a path", keyway.Adoption{Container: "../web"}, keyway.Usage, "../web"},
		{"no name", keyway.Adoption{}, keyway.Usage, "1 to 255"},
		{"no user", keyway.Adoption{Container: "paused", User: "-x"}, keyway.Usage, "-x"},
	} {
		c.a.Name = "refused"
		_, err := s.tryAdopt(Context(t), t, c.a)
		WantKind(t, err, c.kind)
		if !strings.Contains(Full(err), c.says) {
			t.Errorf("%s: %s, without %q", c.what, Full(err), c.says)
		}
		s.WantNothingOf(t, "refused")
	}
	lab.Make(t, Foreign{Name: "userless"})
	before := lab.First(t, "userless")
	_, err := s.tryAdopt(Context(t), t, keyway.Adoption{Name: "refused", Container: "userless", User: "nosuchuser"})
	WantKind(t, err, keyway.Usage)
	s.WantNothingOf(t, "refused")
	s.adopt(t, "userless", "userless")
	lab.wantUntouched(t, "userless", before)
}

// adoptOfAnother tries what another owner has: a workspace of theirs, and a container that
// they have adopted.
func adoptOfAnother(t *testing.T, s Subject, lab AdoptLab) {
	made := lab.Other.Create(t, lab.Other.Spec(t, "theirs"))
	for _, c := range s.containersNamed(t, "theirs") {
		t.Errorf("another's workspace is told of: %+v", c)
	}
	lab.Make(t, Foreign{Name: "web"})
	adopted := lab.Other.adopt(t, "adopted", "web")
	for _, container := range []string{lab.Other.ContainerOf("theirs"), "web"} {
		_, err := s.tryAdopt(Context(t), t, keyway.Adoption{Name: "mine", Container: container})
		WantKind(t, err, keyway.NameTaken)
		s.WantNothingOf(t, "mine")
	}
	if _, there := s.State(t, "adopted"); there {
		t.Error("another's workspace is listed")
	}
	for _, w := range []keyway.Workspace{made, adopted} {
		if got := lab.Other.Run(t, w, "env "+keyway.EnvName); got != string(w.Name) {
			t.Errorf("%s suffered: %q", w.Name, got)
		}
	}
	own := s.Create(t, s.Spec(t, "own"))
	_, err := s.tryAdopt(Context(t), t, keyway.Adoption{Name: "mine", Container: s.ContainerOf(own.Name)})
	WantKind(t, err, keyway.NameTaken)
}

func (s Subject) containersNamed(t testing.TB, part string) (found []keyway.Container) {
	t.Helper()
	list, err := s.Engine.(adopter).Containers(Context(t))
	do(t, "Containers", err)
	for _, c := range list {
		if strings.Contains(c.Name, part) {
			found = append(found, c)
		}
	}
	return found
}

func adoptTwo(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	names := []keyway.Name{"race-a", "race-b", "race-c"}
	made, errs := make([]keyway.Workspace, len(names)), make([]error, len(names))
	ctx := Context(t)
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { made[i], errs[i] = s.tryAdopt(ctx, t, keyway.Adoption{Name: name, Container: "web"}) })
	}
	all.Wait()
	winner := onlyOne(t, errs)
	for i, name := range names {
		if i != winner {
			s.WantNothingOf(t, name)
		}
	}
	if got := s.Run(t, made[winner], "env "+keyway.EnvName); got != string(names[winner]) {
		t.Errorf("the winner is not whole: %q", got)
	}
}

func adoptCancel(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	before := lab.First(t, "web")
	began := time.Now()
	s.adopt(t, "measure", "web")
	whole := time.Since(began)
	do(t, "Remove", s.Engine.Remove(Context(t), "measure"))
	const moments = 4
	for i := range moments {
		ctx, cancel := context.WithTimeout(Context(t), whole*time.Duration(i)/moments)
		_, err := s.tryAdopt(ctx, t, keyway.Adoption{Name: "cancelled", Container: "web"})
		cancel()
		if err == nil { // it was faster this time
			do(t, "Remove", s.Engine.Remove(Context(t), "cancelled"))
		} else if ctx.Err() == nil {
			t.Errorf("without being cancelled: %v", Full(err))
		}
		s.WantNothingOf(t, "cancelled")
	}
	s.adopt(t, "whole", "web")
	lab.wantUntouched(t, "web", before)
}

// adoptHostile has programs of the container write to the files that the guest relies on.
func adoptHostile(t *testing.T, s Subject, lab AdoptLab) {
	lab.Make(t, Foreign{Name: "web"})
	before := lab.First(t, "web")
	w := s.adopt(t, "hostile", "web")
	home := string(keyway.GuestHome)
	for _, lie := range []string{"1", "-1", "0", "nonsense"} { // 1 is the container's first process
		s.Run(t, w, "write "+home+"/init.lock "+lie)
		WantKind(t, s.Engine.Stop(Context(t), w.Name, 0), keyway.GuestFailed)
		lab.wantUntouched(t, "web", before)
	}
	s.Run(t, w, "write "+home+"/owner 61234")
	s.Run(t, w, "write "+home+"/guest.json nonsense")
	s.Run(t, w, "uproot "+home+"/bin")
	if now, there := s.State(t, w.Name); !there || now.State == keyway.Running {
		t.Errorf("List tells %+v, %v", now, there)
	}
	lab.Do(t, "restart", "web")
	do(t, "Start", s.Engine.Start(Context(t), w.Name)) // all files are installed again
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "hostile" {
		t.Errorf("after Start: %q", got)
	}
	do(t, "Remove", s.Engine.Remove(Context(t), w.Name))
}
