package noded

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
	"keyway/internal/node"
)

// TestTheGuestProgramIsPutThereLater blocks the guest program's path when the node starts, as a
// full disk would. It checks that the engines know at once where the program will be.
func TestTheGuestProgramIsPutThereLater(t *testing.T) {
	root, program := t.TempDir(), filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, staticProgram, 0o755); err != nil {
		t.Fatal(err)
	}
	inTheWay := filepath.Join(root, "guests")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	calls := 0
	p := guestProgram{install: func() (engine.Guest, error) {
		calls++
		return node.InstallGuest(root, nil, "", program)
	}}
	told, err := p.open()
	if err == nil || filepath.Dir(told.Dir) != inTheWay {
		t.Fatalf("%+v, %v", told, err)
	}
	if err := p.put(); err == nil {
		t.Error("it is there where it cannot be")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.put(); err != nil {
			t.Fatalf("nothing is in the way any more, and yet: %v", err)
		}
	}
	if calls != 3 {
		t.Errorf("it was put there in %d tries, not in 3", calls)
	}
	if _, err := os.Stat(filepath.Join(told.Dir, keyway.GuestProgram)); err != nil {
		t.Error(err)
	}
}

// TestAnotherGuestProgramNeedsAnotherNode replaces the source of the guest program before the node
// tries again. It checks that the node refuses the new program, because the engines know only the
// directory of the first.
func TestAnotherGuestProgramNeedsAnotherNode(t *testing.T) {
	inTheWay := errors.New("no space left")
	given := engine.Guest{Dir: "/guests/1"}
	p := guestProgram{install: func() (engine.Guest, error) { return given, inTheWay }}
	if told, err := p.open(); told != given || !errors.Is(err, inTheWay) {
		t.Fatalf("%+v, %v", told, err)
	}
	given.Dir, inTheWay = "/guests/2", nil
	for range 2 {
		err := p.put()
		if e := keyway.AsError(err); e == nil || e.Kind != keyway.VersionMismatch || e.Help() == "" {
			t.Errorf("%v", err)
		}
	}
	given.Dir = "/guests/1"
	if err := p.put(); err != nil {
		t.Errorf("the first is there again, and yet: %v", err)
	}
}

// staticProgram is the header of a program for Linux without a loader (elf(5)).
var staticProgram = func() []byte {
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01") // 64 bits, little-endian, version 1
	header[16], header[18], header[20], header[52] = byte(elf.ET_EXEC), byte(elf.EM_X86_64), 1, 64
	return header
}()
