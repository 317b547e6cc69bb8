//go:build unix

package laptop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

func TestCheckKeyFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	closed := newKey(t, dir, "closed", "secret")
	private, err := os.ReadFile(closed)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct{ says, next string }{
		closed:                                     {},
		newKey(t, dir, "open", ""):                 {},
		closed + ".pub":                            {"public half", "{unlock-file [" + closed + "]}"},
		write("loose", string(private), 0o644):     {"mode 0644", "chmod 600"},
		write("group", string(private), 0o640):     {"mode 0640", "chmod 600"},
		write("read-only", string(private), 0o400): {},
		write("empty", "", 0o600):                  {"holds no private key", "PRIVATE"},
		write("junk", "text\n", 0o600):             {"holds no private key", "PRIVATE"},
		write("a.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\n", 0o600): {"PuTTY", "puttygen"},
		dir:                           {"is not a file", "ls"},
		filepath.Join(dir, "nothing"): {"no such file", "ls"},
	} {
		err := CheckKeyFile(file)
		if want.says == "" {
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		if e := keyway.AsError(err); !keyway.Is(err, keyway.NoKey) || !strings.Contains(e.Message, want.says) || !strings.Contains(e.Next+fmt.Sprint(e.Advice), want.next) {
			t.Errorf("%s: %+v, want %q, %q", file, err, want.says, want.next)
		}
	}
}
