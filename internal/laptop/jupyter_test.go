package laptop

import (
	"strings"
	"testing"
)

func TestReadJupyterAt(t *testing.T) {
	at, err := readJupyterAt([]byte("motd\n" + `{"socket":"/home/a/.local/x.sock","token":"T","base":"/","page":"lab","more":1}` + "\n"))
	if err != nil || at != (JupyterAt{"/home/a/.local/x.sock", "T", "/", "lab"}) {
		t.Errorf("%+v, %v", at, err)
	}
	for _, bad := range []string{
		"", "null", "{}", `{"socket":"relative","token":"T","base":"/"}`, `{"socket":"/a b","token":"T","base":"/"}`, `{"socket":"/a:1","token":"T","base":"/"}`,
		`{"socket":"/a%h","token":"T","base":"/"}`, `{"socket":"/${HOME}","token":"T","base":"/"}`, `{"socket":"/a\n","token":"T","base":"/"}`,
		`{"socket":"/a","token":"","base":"/"}`, `{"socket":"/a","token":"T","base":"x"}`, `{"socket":"/` + strings.Repeat("a", 200) + `","token":"T","base":"/"}`,
	} {
		if at, err := readJupyterAt([]byte(bad)); err == nil {
			t.Errorf("%q accepted: %+v", bad, at)
		}
	}
}

func TestProgramPath(t *testing.T) {
	if p, err := programPath(lastWords([]byte("hello\nhave /home/a/.cache/keyway/keyway-jupyter-1\n"))); err != nil || p != "/home/a/.cache/keyway/keyway-jupyter-1" {
		t.Error(p, err)
	}
	for _, bad := range []string{"", "have", "have relative", "have /a b", "have /a;b", "have /a/../b", "have /$(x)", "nowhere /x", "broken", "noexec", "no Linux vax", "what"} {
		if p, err := programPath(lastWords([]byte(bad))); err == nil {
			t.Errorf("%q: %q", bad, p)
		}
	}
}
