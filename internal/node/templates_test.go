//go:build unix

package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/catalogue"
	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// aTemplate returns the file of a template that leaves the command to its users.
func aTemplate(t *testing.T, name string) []byte {
	t.Helper()
	tmpl := catalogue.Template{Format: catalogue.Format, Name: name, Spec: keyway.Spec{Image: "lab/base"}}
	tmpl.Spec.Template = name
	tmpl.Override.Free = []string{catalogue.FreeCommand}
	data, err := json.Marshal(tmpl)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// aShelf returns a place's own templates, owned by the user that runs the test.
func aShelf(t *testing.T) shelf {
	t.Helper()
	s := shelf{filepath.Join(t.TempDir(), "keyway", "templates"), uint32(os.Getuid())}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "train.json"), aTemplate(t, "train"), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTheNodeHoldsToItsTemplates checks that the node makes what a template allows, and that the
// engine receives no request for anything else.
func TestTheNodeHoldsToItsTemplates(t *testing.T) {
	fake := &fakeEngine{name: keyway.EngineDocker}
	n := New(engine.HomesIn(t.TempDir()), nil, fake)
	n.published = aShelf(t)
	s := keyway.Spec{Name: "mine", Image: "lab/base", Command: []string{"sleep", "1"}}
	s.Template, s.Published = "train", true
	make := func(s keyway.Spec) error {
		fake.created = nil
		_, err := n.Create(context.Background(), s, func(keyway.Progress) {})
		if made := fake.created != nil; made != (err == nil) {
			t.Errorf("made: %v, and the answer is %v", made, err)
		}
		return err
	}
	if err := make(s); err != nil {
		t.Error(err)
	}
	s.Memory = 1 << 30
	if err := make(s); !keyway.Is(err, keyway.NotAllowed) || !strings.Contains(err.Error(), "1gb is asked for (memory)") {
		t.Errorf("what the template does not allow: %v", err)
	}
	if err := make(keyway.Spec{Name: "mine", Image: "other"}); err != nil {
		t.Errorf("without the template: %v", err)
	}
	files, err := n.Templates(context.Background())
	if err != nil || len(files) != 1 || string(files[0]) != string(aTemplate(t, "train")) {
		t.Errorf("%q, %v", files, err)
	}
	n.published.dir = filepath.Join(t.TempDir(), "none")
	if files, err := n.Templates(context.Background()); err != nil || len(files) != 0 {
		t.Errorf("no catalogue: %q, %v", files, err)
	}
	if err := make(keyway.Spec{Name: "mine", Image: "other"}); err != nil {
		t.Errorf("without a catalogue: %v", err)
	}
}

// TestTemplatesThatAreNotBelieved checks files that another user could have written, or can write
// to. The node then makes no workspace, because the file might forbid it.
func TestTemplatesThatAreNotBelieved(t *testing.T) {
	for what, c := range map[string]struct {
		plant func(s *shelf) error
		says  string
	}{
		"another owner": {func(s *shelf) error { s.owner++; return nil }, "and not to root"},
		"a file that others write to": {func(s *shelf) error {
			return os.Chmod(filepath.Join(s.dir, "train.json"), 0o646)
		}, "train.json, of the place's own templates, is not believed, and nothing is made until it is mended: others than root may write to it (mode 646)"},
		"a file that a group writes to": {func(s *shelf) error {
			return os.Chmod(filepath.Join(s.dir, "train.json"), 0o664)
		}, "mode 664"},
		"a directory that others write to":  {func(s *shelf) error { return os.Chmod(s.dir, 0o777) }, "templates, of the place's"},
		"one above it that others write to": {func(s *shelf) error { return os.Chmod(filepath.Dir(s.dir), 0o777) }, "keyway, of the place's"},
		"a link": {func(s *shelf) error {
			return os.Symlink("train.json", filepath.Join(s.dir, "link.json"))
		}, "link.json"},
		"a pipe":      {func(s *shelf) error { return syscall.Mkfifo(filepath.Join(s.dir, "pipe.json"), 0o644) }, "pipe.json"},
		"a directory": {func(s *shelf) error { return os.Mkdir(filepath.Join(s.dir, "dir.json"), 0o755) }, "dir.json"},
		"another's name": {func(s *shelf) error {
			return os.Rename(filepath.Join(s.dir, "train.json"), filepath.Join(s.dir, "eval.json"))
		}, "it holds the template train"},
		"Compose": {func(s *shelf) error {
			return os.WriteFile(filepath.Join(s.dir, "c.json"), []byte("services: {}"), 0o644)
		}, "not what keyway templates publish writes"},
		"a large file": {func(s *shelf) error {
			return os.WriteFile(filepath.Join(s.dir, "l.json"), make([]byte, catalogue.MaxFile+1), 0o644)
		}, "larger than"},
		"very many": {func(s *shelf) error {
			for i := range catalogue.MaxTemplates {
				name := fmt.Sprint("t", i)
				if err := os.WriteFile(filepath.Join(s.dir, name+".json"), aTemplate(t, name), 0o644); err != nil {
					return err
				}
			}
			return nil
		}, "over 128 templates"},
		"a file in place of the directory": {func(s *shelf) error { s.dir = filepath.Join(s.dir, "train.json"); return nil }, "cannot be read"},
	} {
		fake := &fakeEngine{name: keyway.EngineDocker}
		n := New(engine.HomesIn(t.TempDir()), nil, fake)
		n.published = aShelf(t)
		if err := c.plant(&n.published); err != nil {
			t.Fatal(err)
		}
		_, err := n.Create(context.Background(), keyway.Spec{Name: "mine", Image: "other"}, func(keyway.Progress) {})
		if !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), c.says) || keyway.AsError(err).Next == "" || fake.created != nil {
			t.Errorf("%s: %v, want %q and a next step", what, err, c.says)
		}
	}
	s := aShelf(t) // unfinished files and files of other kinds are ignored
	for _, name := range []string{".train.json.swp", ".json", "README"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, all, err := s.read(); err != nil || len(all) != 1 {
		t.Errorf("%d templates, %v", len(all), err)
	}
}
