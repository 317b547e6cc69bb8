package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/front"
	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// TestLargeMessage measures the program's memory for a message of 16 MB, which several pages get at
// once, and which is then read again in each way: the program may hold the message once, while it comes or while a notebook is read.
// Measured values for one of 29 MB are 9 MB when idle, 37 to 47 MB while it comes, 9 to 20 MB while
// pages get it, and 20 to 38 MB in a notebook.
func TestLargeMessage(t *testing.T) {
	const size, pages, bound = 16_000_000, 4, 45
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
			got := make(chan int, pages)
			var conns []*websocket.Conn
			for range pages {
				conns = append(conns, c.join(wire.JSON))
			}
			await.That(t, "all pages", func() bool {
				var all []front.KernelStatus
				c.call(t, "GET", "/keyway/kernels", nil, &all)
				return len(all) == 1 && all[0].Clients == pages
			})
			for _, conn := range conns {
				go func() { got <- c.drain(conn) }() // joined below
			}
			c.say(m, "iopub", kind, content)
			c.end(m)
			n := 0
			for range pages {
				n += <-got
			}
			if said(fmt.Sprintf("%d bytes while they come", n)); n < pages*size {
				t.Error("something is missing")
			}
			for name, protocol := range protocols {
				n := c.swallow(protocol)
				said(fmt.Sprintf("again, %d bytes as %s", n, name))
			}
			book := c.fetch("/api/contents/x.ipynb")
			said(fmt.Sprintf("a notebook of %d bytes", book))
			if book < size {
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
