package link

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// loginShells are the shells that read a start file for a command of a login, each with the
// variable that names the file's directory, and the file's name.
var loginShells = []struct {
	name, variable, file string
}{
	{"bash", "HOME", ".bashrc"},
	{"zsh", "ZDOTDIR", ".zshenv"},
	{"fish", "XDG_CONFIG_HOME", "fish/config.fish"},
	{"tcsh", "HOME", ".tcshrc"},
}

// TestStartFilesOfTheAccount checks that the link reaches a place whatever its login shell's start
// file does, or that the error names the cause.
func TestStartFilesOfTheAccount(t *testing.T) {
	i := newInn(t)
	for _, s := range loginShells {
		at := filepath.Join(i.dir, s.name)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(at, s.file)), 0o700); err != nil {
			t.Fatal(err)
		}
		i.sshd("gpu1-"+s.name, fmt.Sprintf(`ForceCommand exec env %s=%s %s -c "$SSH_ORIGINAL_COMMAND"`, s.variable, at, s.name))
	}
	i.everywhere()
	for _, c := range []struct {
		does, says string // empty: the link reaches the place
		except     []string
		lines      string
	}{
		{does: "prints, also without an end of line", lines: `sh -c 'echo "no such module" >&2'; printf 'Welcome\n\033]0;gpu1\007(base) '`},
		{does: "changes the directory and the umask", lines: "cd /; umask 777"},
		{does: "ends with a fault", lines: "false"},
		{does: "ends the login", lines: "exit 1", says: "gpu1 let you in and ended the login without a word", except: []string{"fish", "tcsh"}},
		{does: "ends the login with a word", lines: "echo use the web portal; exit 0", says: "gpu1 says: “use the web portal”", except: []string{"fish", "tcsh"}},
		{does: "closes standard input", lines: "exec <&-", says: "takes the standard input away", except: []string{"fish", "tcsh"}},
		{does: "takes standard input from nowhere", lines: "exec </dev/null", says: "takes the standard input away", except: []string{"fish", "tcsh"}},
		{does: "closes standard output", lines: "exec >&-", says: "takes the standard output away", except: []string{"fish", "tcsh"}},
		{does: "discards standard output", lines: "exec >/dev/null", says: "takes the standard output away", except: []string{"fish", "tcsh"}},
		{does: "closes both", lines: "exec <&- >&-", says: "takes the standard input and output away", except: []string{"fish", "tcsh"}},
		{does: "closes standard error", lines: "exec 2>&-", except: []string{"fish", "tcsh"}},
		{does: "starts what ends", lines: "exec true", says: "gpu1 let you in and ended the login without a word"},
	} {
		t.Run(c.does, func(t *testing.T) {
			for _, s := range loginShells {
				if slices.Contains(c.except, s.name) {
					continue
				}
				if err := os.WriteFile(filepath.Join(i.dir, s.name, s.file), []byte(c.lines+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				place, said := keyway.Place("gpu1-"+s.name), ""
				p, err := i.dial(place)
				if err == nil {
					p.stop()
				} else {
					said = strings.ReplaceAll(err.Error(), string(place), "gpu1")
				}
				if (err == nil) != (c.says == "") || !strings.Contains(said, c.says) {
					t.Errorf("%s: %v, want %q", s.name, err, c.says)
				}
			}
		})
	}
}
