package engine

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// unreadable are Records of train that cannot be read.
var unreadable = map[string]func(record string) error{
	"no JSON":             func(r string) error { return os.WriteFile(r, []byte(`{"spec":{"name":"tr`), 0o600) },
	"empty":               func(r string) error { return os.WriteFile(r, nil, 0o600) },
	"nothing in it":       func(r string) error { return os.WriteFile(r, []byte("{}"), 0o600) },
	"another workspace's": func(r string) error { return os.WriteFile(r, []byte(`{"spec":{"name":"other"}}`), 0o600) },
	"too long":            func(r string) error { return os.WriteFile(r, bytes.Repeat([]byte(" "), maxRecord+1), 0o600) },
	"no file":             func(r string) error { return os.Mkdir(r, 0o700) },
}

// dockerHere is an engine whose daemon is known.
type dockerHere struct{}

func (dockerHere) Name() string                          { return "docker" }
func (dockerHere) Which(context.Context) (Daemon, error) { return Daemon{ID: "here"}, nil }

// TestUnreadableRecords checks that a workspace whose Record cannot be read does not count as
// absent, and that the error names the workspace and the file.
func TestUnreadableRecords(t *testing.T) {
	for what, damage := range unreadable {
		homes := HomesIn(t.TempDir())
		for _, name := range []keyway.Name{"train", "whole"} {
			if _, err := homes.Make(spec(name), Guest{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := homes.remember(Record{Spec: spec("whole"), Adopted: true}); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(homes.recordPath("train")); err != nil {
			t.Fatal(err)
		}
		if _, err := homes.Known("train"); err != nil {
			t.Errorf("without a Record: %v", err)
		}
		if err := damage(homes.recordPath("train")); err != nil {
			t.Fatal(err)
		}
		_, read := homes.Record("train")
		_, known := homes.Known("train")
		for how, err := range map[string]error{"read": read, "known": known, "mistaken": homes.Mistaken(t.Context(), Record{}, "train", dockerHere{})} {
			if said := keyway.AsError(err); said == nil || !strings.Contains(said.Message, "the record of the workspace train cannot be read") || !strings.Contains(said.Next, homes.recordPath("train")) {
				t.Errorf("%s, %s: %v", what, how, err)
			}
		}
		adopted, err := homes.Adopted()
		if err == nil || len(adopted) != 1 || adopted[0].Spec.Name != "whole" {
			t.Errorf("%s: adopted are %+v, %v", what, adopted, err)
		}
		if _, err := homes.Make(spec("train"), Guest{}); !keyway.Is(err, keyway.NameTaken) {
			t.Errorf("%s: made once more: %v", what, err)
		}
	}
}
