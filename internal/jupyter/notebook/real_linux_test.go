package notebook

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keyway/internal/jupyter/wire"
)

// output is one output of a notebook's cell.
type output struct {
	Type      string                     `json:"output_type"`
	Text      string                     `json:"text"`
	Data      map[string]json.RawMessage `json:"data"`
	Traceback []string                   `json:"traceback"`
}

func (o output) String() string {
	kinds := strings.Join(slices.Sorted(maps.Keys(o.Data)), "+")
	return strings.TrimSpace(fmt.Sprintf("%s %s%s", o.Type, kinds, o.Text))
}

// TestRealMessages converts the messages of ipykernel for numpy, matplotlib, pandas, LaTeX, an
// error in colours, an updated display and a loop that clears its output. nbformat validates each
// result.
func TestRealMessages(t *testing.T) {
	data, err := os.ReadFile("testdata/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string][]struct {
		Type    string          `json:"msg_type"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	var files []string
	for name, want := range map[string][]string{
		"numpy":      {"stream [[0 1 2]\n [3 4 5]]", "execute_result text/plain"},
		"matplotlib": {"display_data image/png+text/plain"},
		"pandas":     {"execute_result text/html+text/plain"},
		"latex": {"display_data text/latex+text/plain", "display_data text/html+text/plain", "display_data image/svg+xml+text/plain",
			"display_data text/markdown+text/plain", "display_data application/json+text/plain"},
		"error":  {"error"},
		"update": {"display_data text/plain"},
		"clear":  {"display_data image/png+text/plain", "stream round 4"},
	} {
		var messages []wire.Message
		for _, m := range recorded[name] {
			messages = append(messages, message(m.Type, string(m.Content)))
		}
		var text strings.Builder
		if err := WriteOutputs(&text, seq(messages...)); err != nil {
			t.Fatal(err)
		}
		var outputs []output
		if err := json.Unmarshal([]byte(text.String()), &outputs); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range outputs {
			got = append(got, o.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", name, got, want)
			continue
		}
		switch first := outputs[0]; name {
		case "error":
			if !strings.Contains(strings.Join(first.Traceback, ""), "\x1b[0;31m") {
				t.Errorf("the error has no colours: %q", first.Traceback)
			}
		case "update":
			if string(first.Data["text/plain"]) != `"'bar 4'"` {
				t.Errorf("the display shows %s", first.Data["text/plain"])
			}
		}
		files = append(files, bookOf(t, name, text.String()))
	}
	const script = "import nbformat, sys\nfor f in sys.argv[1:]: nbformat.validate(nbformat.read(f, 4))"
	if out, err := exec.Command("/usr/bin/python3", append([]string{"-c", script}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("not valid: %v\n%s", err, out)
	}
}

// bookOf returns a file with a notebook of one cell that has the outputs.
func bookOf(t *testing.T, name, outputs string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".ipynb")
	text := `{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[{"cell_type":"code","id":"a","source":"x","metadata":{},"execution_count":1,"outputs":` + outputs + `}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
