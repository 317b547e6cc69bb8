//go:build linux

package enginetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/api"
	"keyway/internal/engine"
	"keyway/internal/keyway"
	"keyway/internal/node"
)

// suiteTest is a part of the contract.
type suiteTest struct {
	name string
	test func(*testing.T, Subject)
}

// Run runs the contract.
func Run(t *testing.T, s Subject) {
	if s.Image == "" {
		t.Setenv(Given, "by-the-machine")
	}
	tests := []suiteTest{
		{"EnterAndList", enterAndList},
		{"Environment", environment},
		{"StopAndStart", stopAndStart},
		{"RemoveLeavesNothing", removeLeavesNothing},
		{"NameTaken", nameTaken},
		{"TwoAtOnce", twoAtOnce},
		{"CancelLeavesNothing", cancelLeavesNothing},
		{"OddNames", oddNames},
		{"NotThere", notThere},
		{"BadSpec", badSpec},
		{"KilledFromOutside", killedFromOutside},
		{"CommandEnds", commandEnds},
		{"CommandMissing", commandMissing},
		{"Fields", Fields},
		{"HalfClose", halfClose},
		{"ManyDials", manyDials},
		{"Sessions", sessions},
		{"RunsSave", runsSave},
		{"Fresh", fresh},
		{"Impostor", impostor},
		{"Robber", robber},
		{"Peeker", peeker},
		{"Abilities", abilities},
	}
	if slices.Contains(s.Abilities, api.AbilityEnvironments) {
		tests = append(tests, suiteTest{"Environments", environments})
	}
	if err := s.Engine.Probe(Context(t)); err != nil {
		t.Fatalf("Probe: %v", Full(err))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, s) })
	}
	if left := s.Left(t); len(left) > 0 {
		t.Errorf("after all tests there are left: %q", left)
	}
}

// abilities compares the abilities of the engine with those that its test lists.
func abilities(t *testing.T, s Subject) {
	if got := node.Abilities(s.Engine); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(s.Abilities))) {
		t.Errorf("the engine can do %q, and its test says %q", got, s.Abilities)
	}
}

func enterAndList(t *testing.T, s Subject) {
	if list, err := s.Engine.List(Context(t)); err != nil || len(list) != 0 || list == nil {
		t.Fatalf("List before anything was made: %v, %v", list, err)
	}
	spec := s.Spec(t, "list-b")
	spec.ForwardAgent = true
	b := s.Create(t, spec)
	a := s.Create(t, s.Spec(t, "list-a"))
	for _, w := range []keyway.Workspace{a, b} {
		if w.State != keyway.Running || w.Engine != s.Engine.Name() || w.Guest.HostKey == "" || w.Guest.User == "" || w.Guest.Version == "" {
			t.Errorf("Create returned %+v", w)
		}
		if age := time.Since(w.Created); age < -time.Minute || age > patience {
			t.Errorf("%s was created %v ago", w.Name, age)
		}
	}
	list, err := s.Engine.List(Context(t))
	if err != nil || len(list) != 2 || list[0].Name != "list-a" || list[1].Name != "list-b" {
		t.Fatalf("List: %v, %v", list, err)
	}
	for i, w := range []keyway.Workspace{a, b} {
		got := list[i]
		if got.State != keyway.Running || got.Reason != "" || got.Guest != w.Guest || got.Image != w.Image || got.ForwardAgent != w.ForwardAgent {
			t.Errorf("List tells %+v of %+v", got, w)
		}
		if got.Sessions != 0 {
			t.Errorf("%s has %d sessions", got.Name, got.Sessions)
		}
	}
	if a.Guest.HostKey == b.Guest.HostKey {
		t.Error("two workspaces have one host key")
	}
	if got := s.Run(t, a, "env "+keyway.EnvName); got != "list-a" {
		t.Errorf("%s is %q inside", keyway.EnvName, got)
	}
}

func environment(t *testing.T, s Subject) {
	spec := s.Spec(t, "env")
	spec.Env = map[string]string{"PLAIN": "value", "ODD": "two words, an = and a 'quote'", "EMPTY": ""}
	w := s.Create(t, spec)
	for k, v := range spec.Env {
		if got := s.Run(t, w, "env "+k); got != v {
			t.Errorf("%s is %q inside, want %q", k, got, v)
		}
	}
}

func stopAndStart(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "again"))
	home := s.Run(t, w, "env "+keyway.EnvHome)
	s.Run(t, w, "write "+home+"/kept text")
	for range 2 { // stopping a stopped workspace is no error
		if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
			t.Fatalf("Stop: %v", Full(err))
		}
	}
	stopped, there := s.State(t, w.Name)
	if !there || stopped.State != keyway.Stopped || !strings.Contains(stopped.Reason, "stopped") {
		t.Fatalf("after Stop it is %s: %q", stopped.State, stopped.Reason)
	}
	_, err := s.Engine.Dial(Context(t), w.Name)
	WantKind(t, err, keyway.NotRunning)
	for range 2 {
		if err := s.Engine.Start(Context(t), w.Name); err != nil {
			t.Fatalf("Start: %v", Full(err))
		}
	}
	if now, _ := s.State(t, w.Name); now.State != keyway.Running || now.Guest.HostKey != w.Guest.HostKey {
		t.Fatalf("after Start it is %+v", now)
	}
	if got := s.Run(t, w, "cat "+home+"/kept"); got != "text" { // and the host key is the same
		t.Errorf("the file holds %q", got)
	}
}

func removeLeavesNothing(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "removed"))
	session, err := s.Client(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A program that heeds no signal, and a stopped workspace, are removed alike.
	if err := session.Start(s.Tool + " hang"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("hanging\n"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.Remove(Context(t), w.Name); err != nil {
		t.Fatalf("Remove: %v", Full(err))
	}
	s.WantNothingOf(t, w.Name)
	WantKind(t, s.Engine.Remove(Context(t), w.Name), keyway.NotFound)
	w = s.Create(t, s.Spec(t, "removed"))
	if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.Remove(Context(t), w.Name); err != nil {
		t.Fatalf("Remove of a stopped workspace: %v", Full(err))
	}
	s.WantNothingOf(t, w.Name)
}

func nameTaken(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "taken"))
	_, err := s.Engine.Create(Context(t), s.Spec(t, "taken"), Quiet)
	WantKind(t, err, keyway.NameTaken)
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "taken" {
		t.Errorf("the first one suffered: %q", got)
	}
	if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
		t.Fatal(err)
	}
	_, err = s.Engine.Create(Context(t), s.Spec(t, "taken"), Quiet)
	WantKind(t, err, keyway.NameTaken)
}

func twoAtOnce(t *testing.T, s Subject) {
	const tries = 4
	spec, ctx := s.Spec(t, "race"), Context(t)
	var (
		all  sync.WaitGroup
		errs [tries]error
		made [tries]keyway.Workspace
	)
	for i := range tries {
		all.Go(func() { made[i], errs[i] = s.Engine.Create(ctx, spec, Quiet) })
	}
	all.Wait()
	winner := onlyOne(t, errs[:])
	if got := s.Run(t, made[winner], "env "+keyway.EnvName); got != "race" {
		t.Errorf("the winner is not whole: %q", got)
	}
	if err := s.Engine.Remove(Context(t), "race"); err != nil {
		t.Fatal(err)
	}
	s.WantNothingOf(t, "race")
}

// onlyOne returns the one that succeeded of several attempts for the same name. The others were
// refused, because it is taken.
func onlyOne(t *testing.T, errs []error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Error("two have the same")
		default:
			WantKind(t, err, keyway.NameTaken)
		}
	}
	if winner < 0 {
		t.Fatal("nobody has it")
	}
	return winner
}

func cancelLeavesNothing(t *testing.T, s Subject) {
	before := time.Now()
	w := s.Create(t, s.Spec(t, "measure"))
	whole := time.Since(before)
	if err := s.Engine.Remove(Context(t), w.Name); err != nil {
		t.Fatal(err)
	}
	const moments = 12
	for i := range moments {
		name := keyway.Name(fmt.Sprintf("cancel-%d", i))
		spec := s.Spec(t, name)
		keeper, keeps := s.Engine.(engine.VolumeKeeper)
		if keeps {
			spec.Mounts = append(spec.Mounts, keyway.Mount{Kind: keyway.MountVolume, Source: string(name), Target: "/mnt/new"})
		}
		ctx, cancel := context.WithTimeout(Context(t), whole*time.Duration(i)/moments)
		_, err := s.Engine.Create(ctx, spec, Quiet)
		cancel()
		if err == nil { // it was faster this time
			if err = s.Engine.Remove(Context(t), name); err == nil && keeps {
				err = keeper.RemoveVolume(Context(t), string(name))
			}
			if err != nil {
				t.Fatal(err)
			}
		} else if ctx.Err() == nil {
			t.Errorf("without being cancelled: %v", Full(err))
		}
		s.WantNothingOf(t, name)
	}
}

func oddNames(t *testing.T, s Subject) {
	for _, name := range []keyway.Name{"0", "a.b_c-d", "x..y", keyway.Name(strings.Repeat("n", keyway.MaxName))} {
		w := s.Create(t, s.Spec(t, name))
		if got := s.Run(t, w, "env "+keyway.EnvName); got != string(name) {
			t.Errorf("%s is called %q inside", name, got)
		}
		if err := s.Engine.Remove(Context(t), name); err != nil {
			t.Fatal(err)
		}
		s.WantNothingOf(t, name)
	}
}

func notThere(t *testing.T, s Subject) {
	const name = "nowhere"
	WantKind(t, s.Engine.Start(Context(t), name), keyway.NotFound)
	WantKind(t, s.Engine.Stop(Context(t), name, time.Second), keyway.NotFound)
	WantKind(t, s.Engine.Remove(Context(t), name), keyway.NotFound)
	_, err := s.Engine.Dial(Context(t), name)
	WantKind(t, err, keyway.NotFound)
	s.WantNothingOf(t, name)
}

func badSpec(t *testing.T, s Subject) {
	for kind, change := range map[keyway.Kind]func(*keyway.Spec){
		keyway.Usage: func(spec *keyway.Spec) { spec.Name = "No Name" },
		keyway.NoKey: func(spec *keyway.Spec) { spec.AuthorizedKeys = nil },
	} {
		spec := s.Spec(t, "bad")
		change(&spec)
		_, err := s.Engine.Create(Context(t), spec, Quiet)
		WantKind(t, err, kind)
	}
	s.WantNothingOf(t, "bad")
}

func killedFromOutside(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "killed"))
	s.Kill(t, w.Name)
	now := s.Await(t, w.Name, keyway.Stopped)
	if !strings.Contains(now.Reason, "killed") || now.Sessions > 0 {
		t.Errorf("List says %q, %d sessions", now.Reason, now.Sessions)
	}
	_, err := s.Engine.Dial(Context(t), w.Name)
	WantKind(t, err, keyway.NotRunning)
	if err := s.Engine.Start(Context(t), w.Name); err != nil {
		t.Fatalf("Start: %v", Full(err))
	}
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "killed" {
		t.Errorf("after Start: %q", got)
	}
}

func commandEnds(t *testing.T, s Subject) {
	spec := s.Spec(t, "command")
	spec.Command = []string{s.Tool, "hang"}
	w := s.Create(t, spec)
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "command" {
		t.Errorf("beside its command: %q", got)
	}
	if err := s.Engine.Remove(Context(t), w.Name); err != nil {
		t.Fatalf("Remove with a command that heeds nothing: %v", Full(err))
	}
	s.WantNothingOf(t, "command")
}

func commandMissing(t *testing.T, s Subject) {
	spec := s.Spec(t, "no-command")
	spec.Command = []string{"/no/such/program"}
	if _, err := s.Engine.Create(Context(t), spec, Quiet); err == nil {
		// The guest was up before the command was found missing.
		s.Await(t, spec.Name, keyway.Stopped)
		if err := s.Engine.Remove(Context(t), spec.Name); err != nil {
			t.Fatal(err)
		}
	} else if !keyway.Is(err, keyway.GuestFailed) || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a command that is not there: %v", Full(err))
	}
	s.WantNothingOf(t, "no-command")
}

// halfClose ends the test's side of a connection at once; the guest's banner
// must arrive all the same, and then the end.
func halfClose(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "half"))
	conn, err := s.Engine.Dial(Context(t), w.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatalf("the connection has no deadlines: %v", err)
	}
	if _, err := io.WriteString(conn, "SSH-2.0-half\r\n"); err != nil {
		t.Fatal(err)
	}
	said, err := closeHalf(conn)
	if err != nil || !strings.HasPrefix(string(said), "SSH-2.0-") {
		t.Errorf("the guest said %.40q, %v", said, err)
	}
}

// maxStrangers bounds the clients that log in at once: a guest turns away too many that have not
// authenticated.
const maxStrangers = 48

func manyDials(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "many"))
	var all sync.WaitGroup
	ctx := Context(t)
	clients, errs := make([]*ssh.Client, s.Dials), make([]error, s.Dials)
	strangers := make(chan struct{}, maxStrangers)
	for i := range s.Dials {
		strangers <- struct{}{}
		all.Go(func() {
			clients[i], errs[i] = s.enter(ctx, w)
			<-strangers
		})
	}
	all.Wait()
	for i, c := range clients {
		if errs[i] != nil {
			t.Errorf("connection %d of %d: %v", i, s.Dials, errs[i])
			continue
		}
		defer c.Close()
		// All are open by now; each must still answer.
		if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			t.Errorf("connection %d of %d does not answer: %v", i, s.Dials, err)
		}
	}
}

// sessions starts one session and lets it end.
func sessions(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "sessions"))
	session, err := s.Client(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if out, err := session.CombinedOutput("keyway run -d --as one -- " + s.Tool + " hang"); err != nil {
		t.Fatalf("starting a session: %v: %s", err, out)
	}
	if now, _ := s.State(t, w.Name); now.Sessions != 1 {
		t.Errorf("%d sessions, want 1", now.Sessions)
	}
	if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
		t.Fatal(err)
	}
	if now, _ := s.State(t, w.Name); now.Sessions != 0 {
		t.Errorf("%d sessions after Stop", now.Sessions)
	}
}

// fresh makes a workspace again under its name: nothing of the previous one may show.
func fresh(t *testing.T, s Subject) {
	first := s.Create(t, s.Spec(t, "fresh"))
	if err := s.Engine.Remove(Context(t), "fresh"); err != nil {
		t.Fatal(err)
	}
	second := s.Create(t, s.Spec(t, "fresh"))
	if first.Guest.HostKey == second.Guest.HostKey {
		t.Error("a new workspace has its predecessor's host key")
	}
}
