package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/test/await"
)

// browser is Chromium without a window.
type browser struct {
	t    *testing.T
	cmd  *exec.Cmd
	host string // of its debugging port
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-renderer-backgrounding", "--disable-background-timer-throttling", // the second tab hides the first
		"--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), "about:blank")
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, cmd: cmd}
	t.Cleanup(b.kill)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, at, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
			b.host, _, _ = strings.Cut(at, "/")
			go func() { // ends with the browser
				for lines.Scan() {
				}
			}()
			return b
		}
	}
	t.Fatalf("the browser does not start: %v", lines.Err())
	return nil
}

func (b *browser) kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

// tab is a page in a browser.
type tab struct {
	b    *browser
	conn *websocket.Conn
	n    int
	look string   // JavaScript that returns a cellState
	said []string // exceptions and errors in the page, the last ones
}

func (b *browser) open(address string) *tab {
	b.t.Helper()
	req, _ := http.NewRequest(http.MethodPut, "http://"+b.host+"/json/new?"+url.QueryEscape(address), nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var target struct{ WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&target); err != nil {
		b.t.Fatal(err)
	}
	conn, _, err := websocket.DefaultDialer.Dial(target.WebSocketDebuggerURL, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	p := &tab{b: b, conn: conn, look: cellStateOf}
	p.call("Runtime.enable", nil) // also tells of the exceptions so far
	p.call("Log.enable", nil)
	return p
}

// maxSaid bounds the errors of a page that are kept.
const maxSaid = 20

// call calls a method of the page's debugger, and returns the result.
func (p *tab) call(method string, params any) json.RawMessage {
	p.b.t.Helper()
	p.n++
	err := p.conn.WriteJSON(map[string]any{"id": p.n, "method": method, "params": params})
	for err == nil {
		var answer struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		err = p.conn.ReadJSON(&answer)
		switch {
		case err != nil:
		case answer.Method == "Runtime.exceptionThrown" || answer.Method == "Log.entryAdded":
			p.said = append(p.said[max(0, len(p.said)+1-maxSaid):], string(answer.Params))
		case answer.Method == "" && answer.ID == p.n:
			return answer.Result
		}
	}
	p.b.t.Fatalf("%s: %v", method, err)
	return nil
}

// eval evaluates an expression in the page; a page that is not ready has no value.
func (p *tab) eval(expression string, value any) {
	p.b.t.Helper()
	var answer struct {
		Result struct{ Value json.RawMessage }
	}
	_ = json.Unmarshal(p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}), &answer)
	if len(answer.Result.Value) > 0 {
		_ = json.Unmarshal(answer.Result.Value, value)
	}
}

// reloadIfLost loads a page again that misses one of its scripts, without which it stays empty. The
// classic notebook waits 30 s for a script. Chromium aborts loads when a network interface of the
// machine comes or goes, which tests of containers cause at the same time.
func (p *tab) reloadIfLost() {
	p.b.t.Helper()
	if slices.ContainsFunc(p.said, func(s string) bool {
		return strings.Contains(s, "Load timeout for modules") || strings.Contains(s, "net::ERR_NETWORK_CHANGED")
	}) {
		p.b.t.Logf("loading the page again: %s", p.said)
		p.said = nil
		p.call("Page.reload", nil)
	}
}

// cellState is the text of the last cell in the page, and whether the cells before it are empty.
type cellState struct {
	Ready   bool
	Prompt  string
	Lines   int
	Ordered bool
	End     bool
}

const cellStateOf = `(() => {
  const nb = window.Jupyter && Jupyter.notebook;
  if (!nb || !nb._fully_loaded || !nb.kernel || !nb.kernel.is_connected()) return {ready: false};
  const cells = nb.get_cells(), c = cells[cells.length - 1];
  if (cells.some(o => o !== c && o.output_area && o.output_area.toJSON().length)) return {ready: true, prompt: 'another cell'};
  const text = c.output_area.toJSON().filter(o => o.output_type === 'stream').map(o => Array.isArray(o.text) ? o.text.join('') : o.text).join('');
  const lines = [...text.matchAll(/line (\d+)\n/g)].map(m => +m[1]);
  return {ready: true, prompt: c.element.find('.input_prompt').text().trim(), lines: lines.length,
    ordered: lines.every((v, i) => v === i), end: text.includes('END')};
})()`

// pageStateOf tells how far a page of the classic notebook has come.
const pageStateOf = `(() => {
  const nb = window.Jupyter && Jupyter.notebook, k = nb && nb.kernel;
  return [location.href.split('?')[0], document.readyState, document.title, 'notebook', !!nb, nb && nb._fully_loaded, 'kernel', k && k.id, k && k._ws && k._ws.readyState,
    'resources', performance.getEntriesByType('resource').length].join(' ');
})()`

// until waits until the last cell satisfies is. It gives up when the page has not changed for
// patience, and at the latest after maxPatience: on a busy machine, a page takes long, but it loads and
// runs step by step.
func (p *tab) until(what string, is func(cellState) bool) (s cellState) {
	p.b.t.Helper()
	var page, before string
	began := time.Now()
	for end := began.Add(patience); ; time.Sleep(50 * time.Millisecond) {
		s = cellState{}
		if p.eval(p.look, &s); s.Ready && is(s) {
			return s
		}
		p.eval(pageStateOf, &page)
		if now := fmt.Sprintf("%+v; it is %s and says %s", s, page, p.said); now != before && time.Since(began) < maxPatience {
			before, end = now, time.Now().Add(patience)
		}
		if time.Now().After(end) {
			p.b.t.Fatalf("%s: for %v, the page has shown %s", what, patience, before)
		}
		if !s.Ready {
			p.reloadIfLost()
		}
	}
}

// TestClassicNotebook checks that the classic notebook shows a running cell again. It kills the
// browser in mid-cell and opens the page in another one. The cell is the second of two with the
// same source. Without keyway-jupyter, the page shows nothing.
func TestClassicNotebook(t *testing.T) {
	w := startWorld(t, "--notebook")
	const code = "import time, os\nfor i in range(60):\n    print('line', i, flush=True); time.sleep(0.02)\n    while i == 30 and not os.path.exists(NAME): time.sleep(0.02)\nprint('END')"
	b := startBrowser(t)
	type side struct {
		service
		base, name string
		page       *tab
	}
	sides := map[string]*side{"front": {service: w.front}, "stock": {service: w.stock}}
	for name, s := range sides {
		s.base, s.name = s.forward(t), name
		cell := codeCell("", strings.Replace(code, "NAME", "'"+name+".go'", 1))
		book{w, name + ".ipynb"}.save(t, cell, cell)
		s.page = b.open(s.base + "notebooks/" + name + ".ipynb?token=" + s.token)
	}
	for name, s := range sides {
		s.page.until(name+" is ready", func(cellState) bool { return true })
		await.That(t, "the script that the page loads", func() (loaded bool) {
			s.page.eval("String(Jupyter.CodeCell.prototype.execute).includes('execute.apply')", &loaded)
			return loaded || name == "stock"
		})
		s.page.eval("Jupyter.notebook.get_cells()[1].execute()", nil)
		s.page.until("line 30 in "+name, func(c cellState) bool { return c.Lines == 31 && c.Ordered })
	}
	b.kill()
	b = startBrowser(t)
	for name, s := range sides {
		s.page = b.open(s.base + "notebooks/" + name + ".ipynb?token=" + s.token)
	}
	sides["front"].page.until("what was there, and the cell that runs", func(c cellState) bool {
		return c.Lines == 31 && c.Ordered && strings.Contains(c.Prompt, "*")
	})
	for name, s := range sides {
		s.page.until(name+" is ready again", func(cellState) bool { return true })
		s.call(t, "PUT", "/api/contents/"+name+".go", map[string]any{"type": "file", "format": "text", "content": ""}, nil)
	}
	got := sides["front"].page.until("the end of the cell", func(c cellState) bool { return c.End && !strings.Contains(c.Prompt, "*") })
	if got.Lines != 60 || !got.Ordered || !strings.Contains(got.Prompt, "1") {
		t.Errorf("reopened in mid-cell, the page shows %+v", got)
	}
	var kernels []struct {
		State string `json:"execution_state"`
	}
	await.That(t, "the end of both", func() bool {
		w.stock.call(t, "GET", "/api/kernels", nil, &kernels)
		return len(kernels) == 2 && kernels[0].State == "idle" && kernels[1].State == "idle"
	})
	if got := sides["stock"].page.until("the page", func(cellState) bool { return true }); got.End || got.Lines == 60 {
		t.Errorf("the Jupyter server alone loses nothing: %+v", got)
	}
	b.kill()
	w.written(t, "front.ipynb", "END")
	if cells := (book{w, "front.ipynb"}).read(t, w.stock); len(cells) != 2 || len(cells[0].Outputs) > 0 || len(cells[1].Outputs) == 0 {
		t.Errorf("the file has %+v", cells)
	}
}
