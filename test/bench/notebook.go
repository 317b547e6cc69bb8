//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/wire"
	"keyway/internal/unixsock"
	"keyway/test/lab"
)

// Targets, while a cell prints notebookRate lines a second.
const (
	targetNotebookCPU   = 0.05                 // of a core
	targetNotebookAdded = 5 * time.Millisecond // to the stock server's p99
	targetNotebookIdle  = 12_000_000           // bytes
	notebookRate        = 1000
	notebookLines       = 60 * notebookRate
)

var notebookSection = section{
	name:    "notebook",
	title:   "Notebooks",
	measure: measureNotebook,
}

// measureNotebook runs a cell that prints for a minute, first with a page at the Jupyter server and
// then with one at keyway-jupyter in front of it. The pages take turns because the server is one
// thread of Python, which two pages at once would slow down.
func measureNotebook(ctx context.Context, _ *bench) (string, error) {
	if err := lab.Install(ctx, "notebook"); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "notebook")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	n, err := startNotebook(ctx, dir)
	if err != nil {
		return "", err
	}
	defer n.stop()
	idle, err := procField(n.keep, "status", "VmRSS")
	if err != nil {
		return "", err
	}
	stock, err := n.stock.print(ctx)
	if err != nil {
		return "", err
	}
	began := cpuOf(n.serve, n.keep)
	ours, err := n.ours.print(ctx)
	if err != nil {
		return "", err
	}
	cpu := (cpuOf(n.serve, n.keep) - began).Seconds() / (notebookLines / notebookRate)
	var text strings.Builder
	fmt.Fprintf(&text, "A cell of ipykernel prints %d lines a second for a minute, with a page at the Jupyter server, and then with one at `keyway-jupyter` "+
		"before it, over unix sockets. The delay of a line begins when the cell prints it.\n\n| | lines | p50 | p99 |\n|---|--:|--:|--:|\n", notebookRate)
	row := func(who string, delays []time.Duration) (p99 time.Duration) {
		slices.Sort(delays)
		p99 = delays[len(delays)*99/100]
		fmt.Fprintf(&text, "| %s | %d | %.1f ms | %.1f ms |\n", who, len(delays), milliseconds(median(delays)), milliseconds(p99))
		return p99
	}
	alone := row("the Jupyter server", stock)
	added := row("`keyway-jupyter`", ours) - alone
	var t targets
	t.add(fmt.Sprintf("at p99, ≤ %d ms added", targetNotebookAdded.Milliseconds()), fmt.Sprintf("%.1f ms", milliseconds(added)), added <= targetNotebookAdded)
	t.add("every line arrives", strconv.Itoa(len(ours)), len(ours) == notebookLines)
	t.add(fmt.Sprintf("≤ %.0f %% of a core", targetNotebookCPU*100), fmt.Sprintf("%.1f %%", cpu*100), cpu <= targetNotebookCPU)
	t.add(fmt.Sprintf("the process with the connections, ≤ %.0f MB resident before it", mb(targetNotebookIdle)), fmt.Sprintf("%.1f MB", mb(idle)), idle <= targetNotebookIdle)
	return text.String() + "\n" + t.String(), nil
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// notebookBench is a Jupyter server with keyway-jupyter before it.
type notebookBench struct {
	cmd         *exec.Cmd
	log         *bytes.Buffer // read when the program has ended
	ours, stock jupyterAt
	serve, keep int // processes
}

// jupyterAt is the address of a Jupyter server or of keyway-jupyter.
type jupyterAt struct {
	Socket string `json:"socket"`
	Sock   string `json:"sock"` // as a Jupyter server calls it
	Token  string `json:"token"`
}

func startNotebook(ctx context.Context, dir string) (n *notebookBench, err error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "make", "jupyter-"+runtime.GOARCH, "DIST="+dir)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make: %w: %s", err, out)
	}
	program := filepath.Join(dir, "jupyter-linux-"+runtime.GOARCH)
	command := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, program, args...)
		c.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
		return c
	}
	n = &notebookBench{cmd: command("serve", "--dir", dir), log: &bytes.Buffer{}}
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) }
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.stop()
			err = fmt.Errorf("%w\n%s", err, n.log)
		}
	}()
	where, err := command("where", "--wait", "120").Output()
	if err == nil {
		err = json.Unmarshal(where, &n.ours)
	}
	files, _ := filepath.Glob(filepath.Join(dir, ".local/share/jupyter/runtime/*server-*.json")) // the pattern is well formed
	for _, file := range files {
		data, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr, json.Unmarshal(data, &n.stock))
	}
	if n.stock.Socket = n.stock.Sock; n.stock.Socket == "" {
		err = errors.Join(err, errors.New("the Jupyter server is not found"))
	}
	if err != nil {
		return nil, err
	}
	n.serve = n.cmd.Process.Pid
	out, err := exec.CommandContext(ctx, "pgrep", "-P", strconv.Itoa(n.serve), "-f", "keep").Output()
	if err != nil {
		return nil, err
	}
	n.keep, err = strconv.Atoi(strings.TrimSpace(string(out)))
	return n, err
}

func (n *notebookBench) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	_ = n.cmd.Wait()
}

func (at jupyterAt) dial(context.Context, string, string) (net.Conn, error) {
	return unixsock.Dial(at.Socket)
}

func (at jupyterAt) newKernel(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost:8888/api/kernels", strings.NewReader(`{"name":"python3"}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "token "+at.Token)
	t := http.Transport{DialContext: at.dial, DisableKeepAlives: true}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	var k struct {
		ID string `json:"id"`
	}
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err == nil && k.ID == "" {
		err = errors.New("no kernel")
	}
	if err != nil {
		err = fmt.Errorf("%w: %s %s", err, resp.Status, data)
	}
	return k.ID, err
}

// page opens a kernel's websocket.
func (at jupyterAt) page(ctx context.Context, kernel, session string) (*websocket.Conn, error) {
	d := websocket.Dialer{NetDialContext: at.dial, Subprotocols: []string{wire.Subprotocol}}
	conn, _, err := d.DialContext(ctx, "ws://localhost:8888/api/kernels/"+kernel+"/channels?session_id="+session, http.Header{"Authorization": {"token " + at.Token}})
	return conn, err
}

// print runs the cell in a new kernel, and returns the delays of its lines.
func (at jupyterAt) print(ctx context.Context) ([]time.Duration, error) {
	kernel, err := at.newKernel(ctx)
	if err != nil {
		return nil, err
	}
	page, err := at.page(ctx, kernel, "bench")
	if err != nil {
		return nil, err
	}
	defer page.Close()
	_ = page.SetReadDeadline(time.Now().Add(4 * time.Minute))
	code := fmt.Sprintf("import time\nbegan = time.perf_counter()\nfor i in range(%d):\n    print('at', time.time_ns(), flush=True)\n"+
		"    time.sleep(max(0, began + (i + 1) / %d - time.perf_counter()))", notebookLines, notebookRate)
	m := wire.New("bench", []byte("{}"), "shell", "execute_request", map[string]any{"code": code, "silent": false, "store_history": true})
	data, binary := m.Encode(protocolOf(page))
	kind := websocket.TextMessage
	if binary {
		kind = websocket.BinaryMessage
	}
	if err := page.WriteMessage(kind, data); err != nil {
		return nil, err
	}
	return lineDelays(page, m.Head.ID)
}

// protocolOf returns the encoding that the other side of a page has chosen.
func protocolOf(page *websocket.Conn) wire.Protocol {
	if page.Subprotocol() == wire.Subprotocol {
		return wire.V1
	}
	return wire.JSON
}

// lineDelays reads until the cell has ended.
func lineDelays(conn *websocket.Conn, id string) (all []time.Duration, err error) {
	d := wire.Decoder{Protocol: protocolOf(conn)}
	rest := ""
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		m, err := d.Decode(kind == websocket.BinaryMessage, data)
		if err != nil {
			return nil, err
		}
		if m.Origin.ID != id {
			continue
		}
		text, _ := m.Stream()
		rest += text.Text
		for line := ""; strings.Contains(rest, "\n"); { // a line may come in two messages
			line, rest, _ = strings.Cut(rest, "\n")
			if stamp, ok := strings.CutPrefix(line, "at "); ok {
				ns, err := strconv.ParseInt(stamp, 10, 64)
				if err != nil {
					return nil, err
				}
				all = append(all, now.Sub(time.Unix(0, ns)))
			}
		}
		if m.State() == "idle" {
			if len(all) == 0 {
				return nil, errors.New("no line has come")
			}
			return all, nil
		}
	}
}

// cpuOf returns the processor time of processes, by the kernel's clock.
func cpuOf(pids ...int) (total time.Duration) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is well formed
		for _, file := range files {
			data, _ := os.ReadFile(file) // a thread that has ended
			if used, _, ok := strings.Cut(string(data), " "); ok {
				ns, _ := strconv.ParseInt(used, 10, 64)
				total += time.Duration(ns)
			}
		}
	}
	return total
}
