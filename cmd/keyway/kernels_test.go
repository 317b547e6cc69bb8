package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"keyway/internal/laptop"
)

// TestKernelTable checks the table of kernels, whose descriptions may come from a hostile
// workspace.
func TestKernelTable(t *testing.T) {
	got := kernelTable([]laptop.Kernel{
		{ID: "0123456789", State: "busy", Running: 1, Queued: 2, Clients: 1, Notebook: "work/train.ipynb"},
		{ID: "abc", State: "idle"}, {ID: "\x1b[31m", State: "\n", Notebook: "x\x1b]0;title\a"},
	}, 0)
	for _, want := range []string{"01234567  busy, 2 cells wait", "work/train.ipynb", "abc ", "idle"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "\x1b\a") || strings.Count(got, "\n") != 5 {
		t.Errorf("%q", got)
	}
	if kernelTable(nil, 80) != "" {
		t.Error("no kernels, no table")
	}
}

// TestKernelsInJSON checks that kernels are added to the job that serves them, and to no other.
func TestKernelsInJSON(t *testing.T) {
	kernels := []laptop.Kernel{{ID: "0123456789", State: "busy", Running: 1, Notebook: "work/\x1btrain.ipynb"}}
	const ended = `{"name": "jupyter", "state": "exited"}`
	for list, want := range map[string]string{
		`[{"name":"a","state":"running"},{"state":"running","name":"jupyter"}]`:            `[null,"work/train.ipynb"]`,
		`[{"name":"jupyter","state":"running"},{"name":"jupyter-keep","state":"running"}]`: `[null,"work/train.ipynb"]`,
		`[{"name":"jupyter-keep","state":"running"},{"name":"jupyter","state":"running"}]`: `["work/train.ipynb",null]`,
		`[` + ended + `]`: `[null]`, `[]`: `[]`,
	} {
		var jobs []struct{ Kernels []laptop.Kernel }
		got := withKernels([]byte(list), kernels)
		if err := json.Unmarshal(got, &jobs); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		books := []*string{}
		for _, j := range jobs {
			var book *string
			if len(j.Kernels) == 1 {
				plainly := strings.ReplaceAll(j.Kernels[0].Notebook, "\x1b", "")
				book = &plainly
			}
			books = append(books, book)
		}
		if text, _ := json.Marshal(books); string(text) != want || bytes.ContainsRune(got, '\x1b') {
			t.Errorf("%s became %s", list, got)
		}
	}
	for _, list := range []string{"", "no list", `{"name":"jupyter","state":"running"}`, `["jupyter", 5]`} {
		if got := withKernels([]byte(list), kernels); string(got) != list {
			t.Errorf("%q became %q", list, got)
		}
	}
}
