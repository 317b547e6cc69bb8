package laptop

import (
	"strings"
	"testing"

	"keyway/internal/watch"
)

func TestReadJupyterAt(t *testing.T) {
	at, err := readJupyterAt([]byte("motd\n" + `{"socket":"/home/a/.local/x.sock","token":"T","base":"/","page":"lab","more":1}` + "\n"))
	if err != nil || at != (JupyterAt{Socket: "/home/a/.local/x.sock", Token: "T", Base: "/", Page: "lab"}) {
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

// TestReadKernels checks arbitrary answers of a workspace about its kernels.
func TestReadKernels(t *testing.T) {
	all, err := readKernels([]byte(`[{"id":"0123456789","state":"idle"},{"id":"ab","notebook":"a/b.ipynb","state":"busy","running":1,"queued":2},{"id":"x","queued":1}]`))
	if err != nil || len(all) != 3 || all[0].Name() != "b.ipynb" || !all[0].Busy() || all[1].Name() != "kernel x" || all[2].Name() != "kernel 01234567" || all[2].Busy() {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err = readKernels([]byte("[" + strings.Repeat("{},", 5000) + "{}]")); err != nil || len(all) != maxKernels {
		t.Errorf("%d kernels, %v", len(all), err)
	}
	for _, bad := range []string{"x", "{}", `[{"running":"many"}]`, "[] []"} {
		if _, err := readKernels([]byte(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// TestReadCells checks arbitrary reports of a workspace about cells that have ended.
func TestReadCells(t *testing.T) {
	j := watch.Job{Workspace: "train", Session: "jupyter", Cells: true, Seen: 3}
	r, err := readCells(j, []byte(`{"last":6,"news":[{"notebook":"work/x.ipynb","result":"finished","seconds":7384.2},{"result":"failed","seconds":-1},
		{"notebook":"y.ipynb","result":"restarted","seconds":1e300}]}`))
	if err != nil || r.Next == nil || r.Next.Seen != 6 || len(r.Ends) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, want := range []string{"a cell of x.ipynb, after 2h3m4s: finished", "a cell, after 0s: failed",
		"a cell of y.ipynb, after 277777h46m40s: lost: its kernel was restarted or has died"} {
		if got := r.Ends[i].Command + ": " + r.Ends[i].End.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	for _, bad := range []string{"", "x", "[]", `{"last":-1}`} {
		if _, err := readCells(j, []byte(bad)); err == nil {
			t.Errorf("%q is believed", bad)
		}
	}
	if r, err := readCells(j, []byte(`{"last":3,"news":[]}`)); err != nil || len(r.Ends) != 0 || r.Next.Seen != 3 {
		t.Errorf("nothing yet: %+v, %v", r, err)
	}
}

// TestNamesOfNotebooks checks a kernel of several notebooks, whose paths come as one text.
func TestNamesOfNotebooks(t *testing.T) {
	for paths, want := range map[string]string{
		"x.ipynb":                  "x.ipynb",
		"dir/a.ipynb, dir/b.ipynb": "a.ipynb, b.ipynb",
		"a.ipynb, deep/er/b.ipynb": "a.ipynb, b.ipynb",
		"one, two/c.ipynb":         "c.ipynb",
		"d/a.ipynb, e, f/b.ipynb":  "a.ipynb, b.ipynb",
	} {
		if got := (Kernel{ID: "x", Notebook: paths}).Name(); got != want {
			t.Errorf("%s: %s, not %s", paths, got, want)
		}
		if got := cellWords(paths, 1); got != "a cell of "+want+", after 1s" {
			t.Errorf("%s: %s", paths, got)
		}
	}
}
