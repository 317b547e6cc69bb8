//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"keyway/internal/template"
	"keyway/internal/template/compose"
)

// envFiles lists services with files of variables: the lines of the service, and those of a.env and
// b.env. says is the reason why Debian's docker-compose reads them differently; empty if it does
// not.
var envFiles = []struct{ service, a, b, says string }{
	{"env_file: %a", "A=1\nB=two words\nC=\nD = spaced \n\n# E=5\nexport F=6", "", ""},
	{"env_file: %a", "A='single $HERE \\n'\nB=\"double\"\nC=\"a b\" # comment\nD=x # comment\nE=x#none\nF=\"#\"", "", ""},
	{"env_file: %a", `A="new\nline\ttab\\back\"quote"`, "", ""},
	{"env_file: %a", "A=\"two\nlines\"\nB='two\nlines'\nC=3", "", ""},
	{"env_file: %a", `A='it\'s'`, "", ""},
	{"env_file: %a", "\ufeffA=1\r\nB=2\r\n", "", ""},
	{"env_file: %a", `A="\a\b\f\v\r"`, "", ""},
	{"env_file: %a", `A="\044 \0 \x41 \u0041 \c \q"`, "", ""},
	{"env_file: %a", `A='\044 \x41 \q'`, "", ""},
	{"env_file: %a", `A=\n\0044x`, "", ""},
	{"env_file: %a", "A=${HERE}\nB=\"${HERE}/x\"\nD=${NONE:-default}", "", ""},
	{"env_file: %a", "HERE\nA=1", "", ""},
	{"env_file: %a", "A=own\nB=${A}\nC=\"${A}${B}\"", "", ""},
	{"env_file: [%a, %b]", "A=1\nB=1", "B=2\nC=2", ""},
	{"env_file: [%b, %a]", "A=1\nB=1", "B=2\nC=2", ""},
	{"env_file: [%a, %b]\n    environment: {B: own, D: own}", "A=1\nB=1", "B=2\nC=2", ""},
	{"env_file: %a\n    environment: [HERE, NONE, A=]", "A=1\nNONE=1", "", ""},
	{"env_file: %a\n    environment: {HERE: , A: null}", "A=1\nHERE=1", "", ""},
	{"env_file: %a\n    environment: [NONE]\n    extends: base", "A=1", "", ""},
	{"environment: {A: , NONE: null, EMPTY: '', HERE: }", "", "", ""},
	{"environment: [A, NONE, EMPTY=, HERE]", "", "", ""},
	{"environment: {A: '${HERE}', B: '${NONE:-}', C: '${NONE-d}', D: '$$HERE', E: ~}", "", "", ""},
	{"extends: base\n    environment: [A]", "A=1", "", ""},
	{"extends: base\n    env_file: [%b]", "A=1\nB=1", "B=2\nC=2", ""},
	{"extends: base\n    environment: [B=3]", "A=1\nB=1", "", ""},
	{"env_file: %a", "A=a=b=c\nB=http://u:p@h/?q=1&r=2", "", ""},
	{"env_file: %a", "A=[1,2]\nB={\"k\": \"v\"}\nC=`id`\nD=a;b|c", "", ""},
	{"env_file: %a", "lower=1\n_x=2\nA1=3\nA.b-c=4", "", ""},

	{"env_file: %a", `A="\0044 \0101"`, "", "it has no octal numbers"},
	{"env_file: %a", "A=$HERE", "", "it fills in ${NAME} alone"},
	{"env_file: %a", "NONE\nA=1", "", "it takes a variable away that today's Compose leaves as the image has it"},
	{"env_file: %a", "HERE=file\nB=${HERE}", "", "it takes a value of the file before one of the laptop"},
	{"env_file: [%a, %b]", "A=1", "B=${A}", "it knows no value of another file"},
	{"env_file: %a\n    environment: {S: own}", "B=${S}", "", "it knows no value of environment"},
	{"env_file: %a", "A='${HERE}'", "", "it fills in between single quotes"},
	{"env_file: %a", "A: colon", "", "it knows no colon"},
	{"env_file: %a", `A='\\'`, "", "it knows an escape between single quotes"},
	{"env_file: %a", "A=x\t# comment", "", "it takes a tab before a comment for a space"},
}

// takenAway stands for the value of a variable of the image that the container does not have.
const takenAway = "\x00"

// TestEnvFilesBesideCompose compares files of variables with Debian's docker-compose, which shares
// no code with keyway. Where that differs from today's Compose, keyway follows the latter.
func TestEnvFilesBesideCompose(t *testing.T) {
	dir := t.TempDir()
	file := "services:\n"
	for i, c := range envFiles {
		names := strings.NewReplacer("%a", fmt.Sprintf("a%d.env", i), "%b", fmt.Sprintf("b%d.env", i), "extends: base", fmt.Sprintf("extends: {service: base%d}", i))
		file += names.Replace(fmt.Sprintf("  s%d:\n    %s\n    image: i\n  base%[1]d:\n    image: i\n    env_file: %%a\n", i, c.service))
		for name, text := range map[string]string{"a": c.a, "b": c.b} {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s%d.env", name, i)), []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-compose", "config")
	cmd.Dir, cmd.Env = dir, []string{"HERE=h", "PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	said, err := cmd.Output()
	var theirs struct {
		Services map[string]struct{ Environment map[string]*string }
	}
	if err != nil || yaml.Unmarshal(said, &theirs) != nil {
		t.Fatalf("docker-compose: %v: %s", err, said)
	}
	lookup := func(name string) (string, bool) { return "h", name == "HERE" }
	for i, c := range envFiles {
		name := fmt.Sprintf("s%d", i)
		found, err := template.Finder{Dir: dir}.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		asked, err := found.Resolve(compose.Where{Lookup: lookup})
		if err != nil {
			t.Errorf("%s: %v", c.a, err)
			continue
		}
		ours := map[string]string{}
		maps.Copy(ours, asked.Spec.Env)
		for _, name := range asked.Spec.Unset {
			ours[name] = takenAway
		}
		want := map[string]string{}
		for name, value := range theirs.Services[name].Environment {
			if want[name] = takenAway; value != nil {
				want[name] = strings.ReplaceAll(*value, "$$", "$")
			}
		}
		if maps.Equal(ours, want) != (c.says == "") {
			t.Errorf("%s\n%s\n%s\nby keyway:         %q\nby docker-compose: %q (%s)", c.service, c.a, c.b, ours, want, c.says)
		}
	}
}
