package keyway

import (
	"strings"
	"testing"
)

func TestIsLoginName(t *testing.T) {
	for _, good := range []string{
		"root", "ada", "_apt", "Ada", "ada.lovelace", "ada-l", "4711", "ada@corp.example.com", `CORP\ada`, "CORP+ada", `corp.example.com\ada`,
		"jörg", `CORP\jörg`, "ada_corp.com@tenant.example.com", strings.Repeat("x", 255),
	} {
		if !IsLoginName(good) {
			t.Errorf("%q is no login name", good)
		}
	}
	// Names that ssh, ssh_config, a shell, passwd or a terminal would read as more than a name.
	bad := []string{"", "-l", "-oProxyCommand=x", "@corp", "+ada", ".ada", `\ada`, `ada\`, `CORP\\ada`, "a\u00a0b", "a\u202eb", "a\xff", strings.Repeat("x", 256)}
	for _, mark := range " \t\r\n\x00\x1b\x7f\"'`$%#:;,&|<>(){}[]*?!=~^/" {
		bad = append(bad, "a"+string(mark)+"b", string(mark)+"b", "b"+string(mark))
	}
	for _, name := range bad {
		if IsLoginName(name) {
			t.Errorf("%q is a login name", name)
		}
	}
}

func FuzzIsLoginName(f *testing.F) {
	f.Add(`CORP\ada`)
	f.Fuzz(func(t *testing.T, s string) {
		if IsLoginName(s) && (s == "" || len(s) > 255 || s[0] == '-' || strings.ContainsAny(s, " \t\r\n\x00\x1b\"'`$%:/")) {
			t.Errorf("%q is a login name", s)
		}
		if p, err := ParsePlace(s); err == nil {
			if user, _, found := strings.Cut(string(p), `\`); found && !strings.Contains(s[len(user):], "@") {
				t.Errorf("%q is a place", s)
			}
		}
	})
}
