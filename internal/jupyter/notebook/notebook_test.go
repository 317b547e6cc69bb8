package notebook

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
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
		"nothing":               {nil, `[]`},
		"text is merged":        {[]wire.Message{out("a"), out("b"), message("stream", `{"name":"stderr","text":"c"}`)}, `[{"name":"stdout","output_type":"stream","text":"ab"},{"name":"stderr","output_type":"stream","text":"c"}]`},
		"result":                {[]wire.Message{message("execute_result", `{"data":{"text/plain":"42"},"metadata":{},"execution_count":3}`)}, `[{"data":{"text/plain":"42"},"execution_count":3,"metadata":{},"output_type":"execute_result"}]`},
		"error":                 {[]wire.Message{message("error", `{"ename":"E","evalue":"v","traceback":["\u001b[31ma"]}`)}, `[{"ename":"E","evalue":"v","output_type":"error","traceback":["\u001b[31ma"]}]`},
		"display, no transient": {[]wire.Message{picture}, `[{"data":{"image/png":"AA=="},"metadata":{"w":1},"output_type":"display_data"}]`},
		"update":                {[]wire.Message{picture, out("a"), message("update_display_data", `{"data":{"text/plain":"new"},"transient":{"display_id":"d"}}`)}, `[{"data":{"text/plain":"new"},"metadata":{},"output_type":"display_data"},{"name":"stdout","output_type":"stream","text":"a"}]`},
		"update of another":     {[]wire.Message{picture, message("update_display_data", `{"data":{},"transient":{"display_id":"e"}}`)}, `[{"data":{"image/png":"AA=="},"metadata":{"w":1},"output_type":"display_data"}]`},
		"cleared":               {[]wire.Message{out("a"), message("clear_output", `{"wait":false}`)}, `[]`},
		"cleared with the next": {[]wire.Message{out("a"), message("clear_output", `{"wait":true}`), out("b")}, `[{"name":"stdout","output_type":"stream","text":"b"}]`},
		"not cleared yet":       {[]wire.Message{out("a"), message("clear_output", `{"wait":true}`)}, `[{"name":"stdout","output_type":"stream","text":"a"}]`},
		"other messages":        {[]wire.Message{message("status", `{"execution_state":"busy"}`), message("comm_open", `{}`)}, `[]`},
		"hostile": {[]wire.Message{message("display_data", `{"data":5,"metadata":[],"transient":"x"}`), message("display_data", `{"data":{"text/html":{"a":1},"application/json":{"a":1},"text/plain":["a","b"],"text/x":["a",1]}}`), message("execute_result", `{"execution_count":"x"}`), message("error", `{"traceback":"x","ename":7}`), message("stream", `{"name":"/etc","text":9}`)},
			`[{"data":{},"metadata":{},"output_type":"display_data"},{"data":{"application/json":{"a":1},"text/plain":["a","b"]},"metadata":{},"output_type":"display_data"},{"data":{},"execution_count":null,"metadata":{},"output_type":"execute_result"},{"ename":"","evalue":"","output_type":"error","traceback":[]},{"name":"stdout","output_type":"stream","text":""}]`},
	} {
		outputs, err := Outputs(seq(c.messages...))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(outputs)
		if string(got) != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", name, got, c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := Outputs(func(yield func(wire.Message, error) bool) { yield(wire.Message{}, broken) }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// book makes a notebook of cells "id:source"; with an empty id, a cell has none.
func book(t *testing.T, sources ...string) Document {
	t.Helper()
	doc := Document{"nbformat": json.Number("4"), "cells": []any{map[string]any{"cell_type": "markdown", "source": "a"}}}
	for _, s := range sources {
		id, source, _ := strings.Cut(s, ":")
		c := map[string]any{"cell_type": "code", "source": source, "metadata": map[string]any{"tags": []any{"x"}}, "outputs": []any{"old"}, "execution_count": nil}
		if id != "" {
			c["id"] = id
		}
		doc["cells"] = append(doc["cells"].([]any), c)
	}
	return doc
}

func run(id, cell, code string, done bool) Run {
	return Run{ID: id, Cell: cell, Code: sha256.Sum256([]byte(code)), Count: 5, Done: done, Outputs: func() ([]Output, error) {
		return []Output{{"output_type": "stream", "name": "stdout", "text": id}}, nil
	}}
}

// shown is what each code cell shows.
func shown(doc Document) (all []string) {
	for _, c := range cells(doc) {
		o := c.body["outputs"].([]any)[0]
		if s, ok := o.(string); ok {
			all = append(all, s)
		} else {
			all = append(all, o.(Output)["text"].(string))
		}
	}
	return all
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
		"classic, again":               {[]string{"a:x"}, []Run{run("1", "", "x", true), run("2", "", "x", true), run("3", "", "x", true)}, []string{"3"}},
		"a file without ids":           {[]string{":x", ":y"}, []Run{run("1", "generated", "y", true)}, []string{"old", "1"}},
		"an id that is not there":      {[]string{"a:x"}, []Run{run("1", "gone", "x", true)}, []string{"old"}},
		"markdown with the same words": {[]string{"b:b"}, []Run{run("1", "", "a", true)}, []string{"old"}},
	} {
		doc := book(t, c.cells...)
		if _, err := Splice(doc, c.runs); err != nil {
			t.Fatal(err)
		}
		if got := shown(doc); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	doc := book(t, "a:x", "b:y")
	if n, err := Splice(doc, []Run{run("1", "a", "x", true), run("2", "b", "y", false)}); len(n) != 2 || err != nil {
		t.Fatal(n, err)
	}
	data, err := Format(doc) // as a client reads and saves it
	if err != nil {
		t.Fatal(err)
	}
	doc, err = Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := TakeMarks(doc); !reflect.DeepEqual(got, []string{"1"}) {
		t.Errorf("marks %v: only what was whole is marked", got)
	}
	seen := run("1", "a", "x", true)
	seen.Outputs = nil // the file has it: marked, and nothing changed
	if _, err := Splice(doc, []Run{seen}); err != nil || !reflect.DeepEqual(TakeMarks(doc), []string{"1"}) {
		t.Error("what the file has is not marked", err)
	}
	if again, _ := Format(doc); strings.Contains(string(again), markName) || !strings.Contains(string(again), `"tags":["x"]`) {
		t.Errorf("left: %s", again)
	}
}

func TestParseKeepsNumbers(t *testing.T) {
	const text = `{"a":12345678901234567890,"b":1.0,"c":"<&>"}` + "\n"
	doc, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := Format(doc); string(got) != text {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{"", "[]", "{} {}", "null x", fmt.Sprint(5)} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// Whatever a notebook is, it is spliced and read without a panic.
func FuzzSplice(f *testing.F) {
	f.Add(`{"cells":[{"cell_type":"code","id":"a","source":["x","\n"],"metadata":{"keyway":{"shown":"1"}}}]}`)
	f.Add(`{"cells":[{"cell_type":"code","source":5,"metadata":5},7,null]}`)
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := Parse([]byte(text))
		if err != nil {
			return
		}
		if _, err := Splice(doc, []Run{run("1", "a", "x\n", true), run("2", "", "", true)}); err != nil {
			t.Fatal(err)
		}
		TakeMarks(doc)
		data, err := Format(doc)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), `"shown":"2"`) {
			t.Fatalf("a mark is left: %s", data)
		}
	})
}
