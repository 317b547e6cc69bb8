package notebook

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"

	"keyway/internal/jupyter/wire"
)

func message(kind, content string) wire.Message {
	return wire.New("kernel", []byte(`{"msg_id":"req"}`), "iopub", kind, json.RawMessage(content))
}

func seq(ms ...wire.Message) iter.Seq2[wire.Message, error] {
	return func(yield func(wire.Message, error) bool) {
		for _, m := range ms {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func TestOutputs(t *testing.T) {
	out := func(text string) wire.Message { return message("stream", `{"name":"stdout","text":"`+text+`"}`) }
	picture := message("display_data", `{"data":{"image/png":"AA=="},"metadata":{"w":1},"transient":{"display_id":"d"}}`)
	for name, c := range map[string]struct {
		messages []wire.Message
		want     string
	}{
		"nothing":                {nil, `[]`},
		"text is merged":         {[]wire.Message{out("a"), out("b"), message("stream", `{"name":"stderr","text":"c"}`)}, `[{"name":"stdout","output_type":"stream","text":"ab"},{"name":"stderr","output_type":"stream","text":"c"}]`},
		"result":                 {[]wire.Message{message("execute_result", `{"data":{"text/plain":"42"},"metadata":{},"execution_count":3}`)}, `[{"data":{"text/plain":"42"},"execution_count":3,"metadata":{},"output_type":"execute_result"}]`},
		"error":                  {[]wire.Message{message("error", `{"ename":"E","evalue":"v","traceback":["\u001b[31ma"]}`)}, `[{"ename":"E","evalue":"v","output_type":"error","traceback":["\u001b[31ma"]}]`},
		"display, no transient":  {[]wire.Message{picture}, `[{"data":{"image/png":"AA=="},"metadata":{"w":1},"output_type":"display_data"}]`},
		"update":                 {[]wire.Message{picture, out("a"), message("update_display_data", `{"data":{"text/plain":"new"},"transient":{"display_id":"d"}}`)}, `[{"data":{"text/plain":"new"},"metadata":{},"output_type":"display_data"},{"name":"stdout","output_type":"stream","text":"a"}]`},
		"shown again":            {[]wire.Message{picture, message("display_data", `{"data":{"text/plain":"new"},"transient":{"display_id":"d"}}`)}, `[{"data":{"text/plain":"new"},"metadata":{},"output_type":"display_data"},{"data":{"text/plain":"new"},"metadata":{},"output_type":"display_data"}]`},
		"update of another":      {[]wire.Message{picture, message("update_display_data", `{"data":{},"transient":{"display_id":"e"}}`)}, `[{"data":{"image/png":"AA=="},"metadata":{"w":1},"output_type":"display_data"}]`},
		"cleared":                {[]wire.Message{out("a"), message("clear_output", `{"wait":false}`)}, `[]`},
		"cleared with the next":  {[]wire.Message{out("a"), message("clear_output", `{"wait":true}`), out("b")}, `[{"name":"stdout","output_type":"stream","text":"b"}]`},
		"not cleared yet":        {[]wire.Message{out("a"), message("clear_output", `{"wait":true}`)}, `[{"name":"stdout","output_type":"stream","text":"a"}]`},
		"update of a later one":  {[]wire.Message{message("update_display_data", `{"data":{"text/plain":"early"},"transient":{"display_id":"d"}}`), picture}, `[{"data":{"image/png":"AA=="},"metadata":{"w":1},"output_type":"display_data"}]`},
		"cleared after the flag": {[]wire.Message{out("a"), message("clear_output", `{"wait":true}`), message("clear_output", `{"wait":false}`), out("b"), out("c")}, `[{"name":"stdout","output_type":"stream","text":"bc"}]`},
		"lines of text":          {[]wire.Message{message("stream", `{"name":"stdout","text":["a\n","b",7]}`)}, `[{"name":"stdout","output_type":"stream","text":"a\nb"}]`},
		"half a character":       {[]wire.Message{message("display_data", `{"data":{"text/plain":"\ud800x","application/json":{"n":12345678901234567890}}}`)}, `[{"data":{"application/json":{"n":12345678901234567890},"text/plain":"` + "\uFFFD" + `x"},"metadata":{},"output_type":"display_data"}]`},
		"null in lines":          {[]wire.Message{message("display_data", `{"data":{"a/b":[null],"c/d":["null"]}}`)}, `[{"data":{"c/d":["null"]},"metadata":{},"output_type":"display_data"}]`},
		"other messages":         {[]wire.Message{message("status", `{"execution_state":"busy"}`), message("comm_open", `{}`)}, `[]`},
		"hostile": {[]wire.Message{message("display_data", `{"data":5,"metadata":[],"transient":"x"}`), message("display_data", `{"data":{"text/html":{"a":1},"application/json":{"a":1},"text/plain":["a","b"],"text/x":["a",1]}}`), message("execute_result", `{"execution_count":"x"}`), message("error", `{"traceback":"x","ename":7}`), message("stream", `{"name":"/etc","text":9}`)},
			`[{"data":{},"metadata":{},"output_type":"display_data"},{"data":{"application/json":{"a":1},"text/plain":["a","b"]},"metadata":{},"output_type":"display_data"},{"data":{},"execution_count":null,"metadata":{},"output_type":"execute_result"},{"ename":"","evalue":"","output_type":"error","traceback":[]},{"name":"stdout","output_type":"stream","text":""}]`},
	} {
		var got strings.Builder
		if err := WriteOutputs(&got, seq(c.messages...)); err != nil {
			t.Fatal(err)
		}
		if got.String() != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", name, &got, c.want)
		}
	}
	broken := errors.New("broken")
	if err := WriteOutputs(io.Discard, func(yield func(wire.Message, error) bool) { yield(wire.Message{}, broken) }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// book returns the model of a notebook with cells "id:source"; a cell with an empty id has none.
func book(t *testing.T, sources ...string) string {
	t.Helper()
	all := []any{map[string]any{"cell_type": "markdown", "source": "a"}}
	for _, s := range sources {
		id, source, _ := strings.Cut(s, ":")
		c := map[string]any{"cell_type": "code", "source": source, "metadata": map[string]any{"tags": []any{"x"}}, "outputs": []any{map[string]any{"text": "old"}}, "execution_count": nil}
		if id != "" {
			c["id"] = id
		}
		all = append(all, c)
	}
	data, err := json.MarshalIndent(map[string]any{"last_modified": "then", "content": map[string]any{"nbformat": 4, "cells": all}}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func run(id, cell, code string, done bool) Run {
	return Run{ID: id, Cell: cell, Code: sha256.Sum256([]byte(code)), Alike: -1, Count: 5, Done: done, Outputs: func(w io.Writer) error {
		_, err := io.WriteString(w, `[{"output_type":"stream","name":"stdout","text":"`+id+`"}]`)
		return err
	}}
}

// place returns a copy of r whose Alike is n.
func place(n int, r Run) Run {
	r.Alike = n
	return r
}

func scan(t *testing.T, model string) *Document {
	t.Helper()
	doc, err := Scan(strings.NewReader(model))
	if err != nil {
		t.Fatal(err, model)
	}
	return doc
}

func edited(t *testing.T, model string, edits []Edit) string {
	t.Helper()
	var b strings.Builder
	if err := Apply(&b, strings.NewReader(model), Span{0, int64(len(model))}, edits); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func splice(t *testing.T, model string, runs ...Run) string {
	t.Helper()
	edits, _ := scan(t, model).Splice(runs)
	return edited(t, model, edits)
}

// parsed is a model as encoding/json reads it.
type parsed struct {
	Content struct {
		Cells []struct {
			Type     string         `json:"cell_type"`
			Count    int            `json:"execution_count"`
			Metadata map[string]any `json:"metadata"`
			Outputs  []struct{ Text string }
		}
	}
}

func parse(t *testing.T, model string) (p parsed) {
	t.Helper()
	if err := json.Unmarshal([]byte(model), &p); err != nil {
		t.Fatal(err, model)
	}
	return p
}

// shown returns the outputs of each code cell.
func shown(t *testing.T, model string) (all []string) {
	t.Helper()
	for _, c := range parse(t, model).Content.Cells {
		if c.Type == "code" {
			all = append(all, c.Outputs[0].Text)
		}
	}
	return all
}

// TestFits checks which cells of a notebook that may be another one a run can have: that of its id, and
// one that was never run.
func TestFits(t *testing.T) {
	never, number, output := `"outputs": [ ],"execution_count":null`, `"execution_count":0,"outputs":[]`, `"outputs":[{}]`
	for _, c := range []struct {
		id, state, cell string
		want            bool
	}{
		{"a", never, "a", true}, {"a", number, "a", true}, {"a", output, "a", true},
		{"a", never, "", true}, {"a", number, "", false}, {"a", output, "", false},
		{"a", never, "b", false}, {"a", output, "b", false},
		{"", never, "a", true}, {"", number, "a", false}, {"", output, "a", false},
		{"", never, "", true}, {"", number, "", false}, {"", output, "", false}, {"", `"outputs":null`, "", true},
	} {
		id := ""
		if c.id != "" {
			id = `"id":"` + c.id + `",`
		}
		doc := scan(t, `{"content":{"cells":[{"cell_type":"code",`+id+c.state+`,"source":"x"}]}}`)
		if got := doc.Fits([]Run{run("1", c.cell, "x", true)}); got != c.want {
			t.Errorf("a run of cell %q, and cell %q with %s: %v", c.cell, c.id, c.state, got)
		}
		if doc.Fits([]Run{run("1", c.cell, "x", true), run("2", "", "y", true)}) {
			t.Error("a run without a cell has one")
		}
	}
}

func TestSplice(t *testing.T) {
	for name, c := range map[string]struct {
		cells []string
		runs  []Run
		want  []string
	}{
		"by id":                        {[]string{"a:x", "b:y"}, []Run{run("1", "b", "y", true)}, []string{"old", "1"}},
		"changed since":                {[]string{"a:x2"}, []Run{run("1", "a", "x", true)}, []string{"old"}},
		"run again":                    {[]string{"a:x"}, []Run{run("1", "a", "x", true), run("2", "a", "x", false)}, []string{"2"}},
		"moved":                        {[]string{"b:y", "a:x"}, []Run{run("1", "a", "x", true), run("2", "b", "y", true)}, []string{"2", "1"}},
		"alike, by id":                 {[]string{"a:x", "b:x"}, []Run{run("1", "b", "x", true)}, []string{"old", "1"}},
		"classic":                      {[]string{"a:x", "b:y"}, []Run{run("1", "", "y", true)}, []string{"old", "1"}},
		"classic, alike":               {[]string{"a:x", "b:x"}, []Run{run("1", "", "x", true), run("2", "", "x", true)}, []string{"1", "2"}},
		"classic, one of two alike":    {[]string{"a:x", "b:x"}, []Run{run("1", "", "x", true)}, []string{"1", "old"}},
		"the second of two alike":      {[]string{"a:x", "b:x"}, []Run{place(1, run("1", "", "x", true))}, []string{"old", "1"}},
		"alike, in another order":      {[]string{":x", ":x"}, []Run{place(1, run("1", "of a page", "x", true)), place(0, run("2", "", "x", true)), place(1, run("3", "", "x", true))}, []string{"2", "3"}},
		"alike, one says which":        {[]string{"a:x", "b:x", "c:x"}, []Run{run("1", "", "x", true), place(0, run("2", "", "x", true)), run("3", "", "x", true)}, []string{"2", "1", "3"}},
		"by id, after one without":     {[]string{"a:x"}, []Run{place(0, run("1", "", "x", true)), run("2", "a", "x", true)}, []string{"2"}},
		"without an id, after one":     {[]string{"a:x"}, []Run{run("1", "a", "x", true), place(0, run("2", "", "x", true))}, []string{"2"}},
		"one alike was removed":        {[]string{"a:x"}, []Run{place(1, run("1", "", "x", true))}, []string{"1"}},
		"classic, again":               {[]string{"a:x"}, []Run{run("1", "", "x", true), run("2", "", "x", true), run("3", "", "x", true)}, []string{"3"}},
		"a file without ids":           {[]string{":x", ":y"}, []Run{run("1", "generated", "y", true)}, []string{"old", "1"}},
		"an id that is not there":      {[]string{"a:x"}, []Run{run("1", "gone", "x", true)}, []string{"old"}},
		"an id twice":                  {[]string{"a:x", "a:x"}, []Run{run("1", "a", "x", true)}, []string{"1", "old"}},
		"an id twice, both run":        {[]string{"a:x", "a:x"}, []Run{run("1", "a", "x", true), run("2", "a", "x", true)}, []string{"1", "2"}},
		"an id twice, and which":       {[]string{"a:x", "a:x"}, []Run{place(1, run("1", "a", "x", true))}, []string{"old", "1"}},
		"an id twice, two sources":     {[]string{"a:x", "a:y"}, []Run{run("1", "a", "y", true)}, []string{"old", "1"}},
		"an id twice, a third alike":   {[]string{"b:x", "a:x", "a:x"}, []Run{run("1", "", "x", true), run("2", "a", "x", true)}, []string{"1", "2", "old"}},
		"an id twice, named wrongly":   {[]string{"b:x", "a:x", "a:x"}, []Run{place(0, run("1", "a", "x", true))}, []string{"old", "1", "old"}},
		"markdown with the same words": {[]string{"b:b"}, []Run{run("1", "", "a", true)}, []string{"old"}},
	} {
		if got := shown(t, splice(t, book(t, c.cells...), c.runs...)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	model := splice(t, book(t, "a:x", "b:y"), run("1", "a", "x", true), run("2", "b", "y", false))
	edits, runs := scan(t, model).TakeMarks()
	if !reflect.DeepEqual(runs, []string{"1"}) {
		t.Errorf("marks %v: only what was whole is marked", runs)
	}
	saved := edited(t, model, edits)
	if strings.Contains(saved, markName) || !reflect.DeepEqual(parse(t, saved).Content.Cells[1].Metadata["tags"], []any{"x"}) {
		t.Errorf("left: %s", saved)
	}
	seen := run("3", "a", "x", true)
	seen.Outputs = nil // the file has the outputs: the cell is only marked
	for _, text := range []string{saved, model} {
		again := splice(t, text, seen)
		if _, runs := scan(t, again).TakeMarks(); !reflect.DeepEqual(runs, []string{"3"}) || !reflect.DeepEqual(shown(t, again), shown(t, text)) {
			t.Errorf("what the file has is not marked: %s", again)
		}
	}
}

// TestTextStays inserts outputs into notebooks of other programs, and compares the complete texts.
func TestTextStays(t *testing.T) {
	for name, c := range map[string]struct{ cell, spliced, saved string }{
		"empty metadata":   {`{"cell_type":"code","source":"x","metadata":{ },"outputs":[ ],"execution_count":null}`, `{"cell_type":"code","source":"x","metadata":{"keyway":{"shown":"1"}},"outputs":OUT,"execution_count":5}`, `{"cell_type":"code","source":"x","metadata":{},"outputs":OUT,"execution_count":5}`},
		"nothing":          {`{ "cell_type":"code","source":"x"}`, `{"outputs":OUT,"execution_count":5,"metadata":{"keyway":{"shown":"1"}}, "cell_type":"code","source":"x"}`, `{"outputs":OUT,"execution_count":5,"metadata":{}, "cell_type":"code","source":"x"}`},
		"metadata is null": {`{"cell_type":"code","source":["x"],"metadata":null}`, `{"outputs":OUT,"execution_count":5,"cell_type":"code","source":["x"],"metadata":{"keyway":{"shown":"1"}}}`, `{"outputs":OUT,"execution_count":5,"cell_type":"code","source":["x"],"metadata":{}}`},
		"first of several": {`{"cell_type":"code","source":"x","metadata":{"a":1.0},"outputs":[{"t":"\"]}"}],"execution_count":1e2}`, `{"cell_type":"code","source":"x","metadata":{"keyway":{"shown":"1"},"a":1.0},"outputs":OUT,"execution_count":5}`, `{"cell_type":"code","source":"x","metadata":{"a":1.0},"outputs":OUT,"execution_count":5}`},
		"a key of ours":    {`{"cell_type":"code","source":"x","metadata":{"a":1 , "keyway" : 7 , "b":2},"outputs":[],"execution_count":5}`, `{"cell_type":"code","source":"x","metadata":{"a":1 , "keyway" : {"shown":"1"} , "b":2},"outputs":OUT,"execution_count":5}`, `{"cell_type":"code","source":"x","metadata":{"a":1  , "b":2},"outputs":OUT,"execution_count":5}`},
		"not run":          {`{"cell_type":"code","source":"y","metadata":{}}`, `{"cell_type":"code","source":"y","metadata":{}}`, `{"cell_type":"code","source":"y","metadata":{}}`},
		"large numbers":    {`{"cell_type":"raw","source":"x","n":12345678901234567890,"s":"<&>\u0000"}`, `{"cell_type":"raw","source":"x","n":12345678901234567890,"s":"<&>\u0000"}`, `{"cell_type":"raw","source":"x","n":12345678901234567890,"s":"<&>\u0000"}`},
	} {
		whole := func(cell string) string {
			return ` {"content": {"cells": [` + strings.ReplaceAll(cell, "OUT", `[{"output_type":"stream","name":"stdout","text":"1"}]`) + "] } }\n"
		}
		spliced := splice(t, whole(c.cell), run("1", "", "x", true))
		if spliced != whole(c.spliced) {
			t.Errorf("%s:\n%s\nnot\n%s", name, spliced, whole(c.spliced))
		}
		edits, _ := scan(t, spliced).TakeMarks()
		if saved := edited(t, spliced, edits); saved != whole(c.saved) {
			t.Errorf("%s, saved:\n%s\nnot\n%s", name, saved, whole(c.saved))
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, bad := range []string{"", "[]", "{} {}", "null x", "5", `{"content":{"cells":[`, `{"content":{"cells":[}}`, `{"content":{,}}`, `{"a" 1}`, `{"a":}`, `{"a":"`, `{"a":1,}x`, strings.Repeat(`{"a":`, 2000)} {
		if _, err := Scan(strings.NewReader(bad)); err == nil {
			t.Errorf("%.60q accepted", bad)
		}
	}
	for _, none := range []string{`{}`, `{"content":"text"}`, `{"content":null}`} {
		if doc := scan(t, none); doc.Content.To != 0 {
			t.Errorf("%s: %+v", none, doc)
		}
	}
	long := `{"content":{"cells":[{"cell_type":"code","source":"` + strings.Repeat("x", maxSource+1) + `"}]}}`
	if got := splice(t, long, run("1", "", strings.Repeat("x", maxSource+1), true)); got != long {
		t.Errorf("a source that is not looked at was taken for another: %d bytes, not %d", len(got), len(long))
	}
}

// TestManyCells checks that the number of cells is bounded, because each takes memory.
func TestManyCells(t *testing.T) {
	for n, want := range map[int]error{maxCells: nil, maxCells + 1: errCells} {
		_, err := Scan(strings.NewReader(`{"content":{"cells":[` + strings.Repeat(`{"cell_type":"code"},{"cell_type":"raw"},`, n) + `{}]}}`))
		if !errors.Is(err, want) {
			t.Errorf("%d cells: %v, not %v", n, err, want)
		}
	}
}

// FuzzSplice checks that no notebook makes Splice panic, that valid JSON stays valid, and that it
// keeps no mark.
func FuzzSplice(f *testing.F) {
	f.Add(`{"content":{"cells":[{"cell_type":"code","id":"a","source":["x","\n"],"metadata":{"keyway":{"shown":"1"}}}]}}`)
	f.Add(`{"content":{"cells":[{"cell_type":"code","source":5,"metadata":5},7,null]}}`)
	f.Add(`{"content":{"cells":[{"cell_type":"code","source":"","metadata":{"a":1,"keyway":2},"metadata":{},"outputs":[],"outputs":1}]}}`)
	for _, number := range []string{"-1", "1e999", "4.5", "99999999999999999999", "null", `"4"`, "[[]]"} {
		f.Add(`{"content":{"nbformat":` + number + `,"nbformat_minor":` + number + `,"cells":[{"cell_type":"code","execution_count":` + number + `,"source":"","id":` + number + `}]}}`)
	}
	f.Add(`{"content":{"cells":[]},"content":{"cells":[{"cell_type":"code","source":"x\n","id":"a","id":"b","source":"","cell_type":"raw"}],"cells":[{"cell_type":"code","source":""}]}}`)
	f.Add("{\"content\":{\"cells\":[{\"cell_type\":\"code\",\"source\":\"\xff\\ud800\",\"metadata\":{\"\xff\":1}}]}}")
	f.Add(`{"content":{"cells":` + strings.Repeat("[", 90) + strings.Repeat("]", 90) + `}}`)
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := Scan(strings.NewReader(text))
		if err != nil {
			if json.Valid([]byte(text)) && strings.HasPrefix(strings.TrimSpace(text), "{") && !strings.Contains(text, strings.Repeat("[", 100)) && !strings.Contains(text, strings.Repeat("{", 100)) {
				var o map[string]json.RawMessage
				if json.Unmarshal([]byte(text), &o) == nil && len(text) < 1000 {
					t.Fatalf("refused: %v", err)
				}
			}
			return
		}
		if !json.Valid([]byte(text)) {
			return // not a notebook
		}
		edits, _ := doc.Splice([]Run{run("1", "a", "x\n", true), run("2", "", "", true)})
		spliced := edited(t, text, edits)
		if !json.Valid([]byte(spliced)) {
			t.Fatalf("spliced: %s", spliced)
		}
		edits, _ = scan(t, spliced).TakeMarks()
		saved := edited(t, spliced, edits)
		if !json.Valid([]byte(saved)) {
			t.Fatalf("saved: %s", saved)
		}
	})
}
