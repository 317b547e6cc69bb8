package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"keyway/internal/jupyter/wire"
)

// TestLargeMessage measures the program's memory for a message of 29 MB, which is read in each way:
// it may hold the message twice. Measured values are 10 MB when idle, 39 to 47 MB otherwise, and 68
// MB on a busy machine, where an earlier page is still receiving the message.
func TestLargeMessage(t *testing.T) {
	const size, bound = 29_000_000, 75
	for kind, content := range map[string]any{
		"stream": wire.Text{Name: "stdout", Text: strings.Repeat(strings.Repeat("é\tx", 20)+"\n", size/102)},
		"display_data": map[string]any{"data": map[string]string{"image/png": strings.Repeat("QUFB", size/4)}, "metadata": map[string]any{},
			"transient": map[string]string{"display_id": "one"}},
	} {
		t.Run(kind, func(t *testing.T) {
			c := startCrier(t)
			c.doc, _ = json.Marshal(map[string]any{"type": "notebook", "last_modified": "1", "content": map[string]any{"nbformat": 4, "nbformat_minor": 5,
				"metadata": map[string]any{}, "cells": []any{codeCell("a", "loop")}}})
			p := c.open(t, crierKernel, "", wire.V1)
			_, m := c.begin(p, "loop", "a")
			p.close()
			said := func(what string) {
				t.Helper()
				if t.Logf("%s: %d MB", what, c.peak()); c.peak() > bound {
					t.Errorf("%s takes %d MB, more than %d", what, c.peak(), bound)
				}
				if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.pid), []byte("5"), 0); err != nil {
					t.Fatal(err)
				}
			}
			said("idle")
			live := make(chan int, 1)
			go func() { live <- c.swallow(wire.JSON) }() // joined below
			c.say(m, "iopub", kind, content)
			c.end(m)
			said(fmt.Sprintf("%d bytes while they come", <-live))
			for name, protocol := range protocols {
				n := c.swallow(protocol)
				said(fmt.Sprintf("again, %d bytes as %s", n, name))
			}
			n := c.fetch("/api/contents/x.ipynb")
			said(fmt.Sprintf("a notebook of %d bytes", n))
			if n < size {
				t.Error("something is missing")
			}
			// Messages that belong to no execution are not on the disk; the page stays, and gets
			// them.
			p = c.open(t, crierKernel, "", wire.V1)
			c.say(wire.Message{Header: []byte(`{"msg_id":"nobody's","msg_type":"x"}`)}, "iopub", "comm_msg", map[string]string{"data": strings.Repeat("x", 6_000_000)})
			p.until("nobody's", "a large message of a widget", func(*shown) bool { return true })
		})
	}
}
