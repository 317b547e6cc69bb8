package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// move makes a workspace belong to another machine.
func move(t *testing.T, h Homes, name keyway.Name) {
	t.Helper()
	rec, err := h.Record(name)
	if err != nil {
		t.Fatal(err)
	}
	rec.Machine = Machine{ID: "another", Host: "gpu2"}
	if err := h.remember(rec); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherMachinesWorkspaces checks two machines with one home directory: each sees the Homes of
// the other, changes none of them, and keeps the files that they run with.
func TestAnotherMachinesWorkspaces(t *testing.T) {
	homes := HomesIn(t.TempDir())
	for _, name := range []keyway.Name{"ours", "theirs", "older"} {
		if _, err := homes.Make(spec(name), Guest{Dir: "/guests/" + string(name)}); err != nil {
			t.Fatal(err)
		}
	}
	move(t, homes, "theirs")
	rec, err := homes.Record("older")
	rec.Machine = Machine{} // as an earlier keyway recorded it
	if err != nil || homes.remember(rec) != nil {
		t.Fatal(err)
	}
	names, err := homes.Names()
	if err != nil || !slices.Equal(names, []keyway.Name{"older", "ours"}) {
		t.Errorf("of this machine: %v, %v", names, err)
	}
	others, err := homes.Elsewhere()
	if err != nil || len(others) != 1 || others[0].Spec.Name != "theirs" {
		t.Errorf("of others: %v, %v", others, err)
	}
	guests, err := homes.Guests()
	if err != nil || !guests["theirs"] || len(guests) != 3 {
		t.Errorf("programs in use: %v, %v", guests, err)
	}
	_, made := homes.Make(spec("theirs"), Guest{})
	_, read := homes.Record("theirs")
	_, admitted := homes.Admit("theirs", nil, time.Now())
	revised := homes.Revise("theirs", func(r *Record) { r.Guest = "x" })
	for what, c := range map[string]struct {
		err  error
		kind keyway.Kind
	}{
		"made once more": {made, keyway.NameTaken}, "looked up": {read, keyway.Unreachable},
		"keys sent": {admitted, keyway.Unreachable}, "revised": {revised, keyway.Unreachable},
	} {
		if !keyway.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), "gpu2") {
			t.Errorf("%s: %v", what, c.err)
		}
	}
}
