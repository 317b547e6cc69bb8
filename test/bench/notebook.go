//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// measureNotebook runs a cell that prints for a minute, with a page at keyway-jupyter. Each line is timed
// twice: as it comes out of the Jupyter server, where a page of the server would get it, and at the page.
// So a busy server, which may delay a line for longer than keyway-jupyter does, is not compared with
// another minute of itself.
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
	tap, err := tapLines(n.stock.Socket)
	if err != nil {
		return "", err
	}
	defer tap.listener.Close()
	began := cpuOf(n.serve, n.keep)
	page, err := n.ours.print(ctx)
	if err != nil {
		return "", err
	}
	cpu := (cpuOf(n.serve, n.keep) - began).Seconds() / (notebookLines / notebookRate)
	server := tap.times()
	var before, added, after []time.Duration
	for line, at := range page {
		left, ok := server[line]
		if !ok {
			return "", fmt.Errorf("the line %q has not come from the server", line)
		}
		ns, err := strconv.ParseInt(line[:stampDigits], 10, 64)
		if err != nil {
			return "", err
		}
		stamp := time.Unix(0, ns)
		before, added, after = append(before, left.Sub(stamp)), append(added, at.Sub(left)), append(after, at.Sub(stamp))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "A cell of ipykernel prints %d lines a second for a minute, with a page at `keyway-jupyter`, over unix sockets. Each line is timed when "+
		"the cell prints it, when it comes out of the Jupyter server, and when the page has it.\n\n| | lines | p50 | p99 |\n|---|--:|--:|--:|\n", notebookRate)
	row := func(way string, delays []time.Duration) (p99 time.Duration) {
		slices.Sort(delays)
		p99 = delays[len(delays)*99/100]
		fmt.Fprintf(&text, "| %s | %d | %.1f ms | %.1f ms |\n", way, len(delays), milliseconds(median(delays)), milliseconds(p99))
		return p99
	}
	row("from the cell out of the Jupyter server", before)
	p99 := row("from there through `keyway-jupyter` to the page", added)
	row("all the way", after)
	var t targets
	t.add(fmt.Sprintf("at p99, ≤ %d ms added", targetNotebookAdded.Milliseconds()), fmt.Sprintf("%.1f ms", milliseconds(p99)), p99 <= targetNotebookAdded)
	t.add("every line that left the server arrives", fmt.Sprintf("%d of %d", len(page), len(server))+missing(page), len(page) == len(server))
	t.add("every line leaves the server", fmt.Sprintf("%d of %d", len(server), notebookLines)+missing(server), len(server) == notebookLines)
	t.add(fmt.Sprintf("≤ %.0f %% of a core", targetNotebookCPU*100), fmt.Sprintf("%.1f %%", cpu*100), cpu <= targetNotebookCPU)
	t.add(fmt.Sprintf("the process with the connections, ≤ %.0f MB resident before it", mb(targetNotebookIdle)), fmt.Sprintf("%.1f MB", mb(idle)), idle <= targetNotebookIdle)
	return text.String() + "\n" + t.String(), nil
}

// A line is "at ", the time at which the cell printed it, in ns since 1970, a space and the line's number.
const (
	stampDigits = 19
	lineLength  = stampDigits + 1 + 6 // without "at "
)

// missing lists the lines that did not come, as ", without 3-7 9-9".
func missing(lines map[string]time.Time) string {
	came := map[int]bool{}
	for line := range lines {
		if i, err := strconv.Atoi(line[stampDigits+1:]); err == nil {
			came[i] = true
		}
	}
	text := ""
	for i := 0; i < notebookLines; i++ {
		first := i
		for i < notebookLines && !came[i] {
			i++
		}
		if i > first {
			text += fmt.Sprintf(" %d-%d", first, i-1)
		}
	}
	if text == "" {
		return ""
	}
	return ", without" + text
}

// lineTap is a relay before a Jupyter server. It notes when the server has sent each line.
type lineTap struct {
	listener net.Listener
	mu       sync.Mutex
	lines    map[string]time.Time
}

// tapLines takes the place of a server's socket. The server listens on, under another name.
func tapLines(socket string) (*lineTap, error) {
	behind := socket + ".server"
	if err := os.Rename(socket, behind); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	t := &lineTap{listener: listener, lines: map[string]time.Time{}}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", behind)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			}()
			go func() {
				t.relay(client, server)
				_ = client.Close()
			}()
		}
	}()
	return t, nil
}

// relay copies a server's bytes, and notes the lines in them. A server's websocket frames are not masked.
func (t *lineTap) relay(client io.Writer, server io.Reader) {
	rest := []byte{}
	for buf := make([]byte, 64<<10); ; {
		n, err := server.Read(buf)
		now := time.Now()
		if _, writeErr := client.Write(buf[:n]); err != nil || writeErr != nil {
			return
		}
		rest = append(rest, buf[:n]...)
		t.mu.Lock()
		for {
			_, line, found := bytes.Cut(rest, []byte("at "))
			if !found || len(line) < lineLength {
				break
			}
			if _, err := strconv.ParseInt(string(line[:stampDigits]), 10, 64); err == nil { // not the cell itself
				t.lines[string(line[:lineLength])] = now
			}
			rest = line
		}
		t.mu.Unlock()
		rest = bytes.Clone(rest[max(0, len(rest)-len("at ")-lineLength):])
	}
}

func (t *lineTap) times() map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.lines)
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

// print runs the cell in a new kernel, and returns when each of its lines came.
func (at jupyterAt) print(ctx context.Context) (map[string]time.Time, error) {
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
	code := fmt.Sprintf("import time\nbegan = time.perf_counter()\nfor i in range(%d):\n    print(f'at {time.time_ns()} {i:06d}', flush=True)\n"+
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
	return lineTimes(page, m.Head.ID)
}

// protocolOf returns the encoding that the other side of a page has chosen.
func protocolOf(page *websocket.Conn) wire.Protocol {
	if page.Subprotocol() == wire.Subprotocol {
		return wire.V1
	}
	return wire.JSON
}

// lineTimes reads until the cell has ended.
func lineTimes(conn *websocket.Conn, id string) (map[string]time.Time, error) {
	all := map[string]time.Time{}
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
		for line := ""; strings.Contains(rest, "\n"); { // its end may come in the next message
			line, rest, _ = strings.Cut(rest, "\n")
			if text, ok := strings.CutPrefix(line, "at "); ok && len(text) == lineLength {
				all[text] = now
			} else {
				fmt.Fprintln(os.Stderr, line) // a notice
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
