package screen

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// stays returns the sequences of testdata/stays.txt.
func stays(t *testing.T) (all []string) {
	t.Helper()
	f, err := os.Open("testdata/stays.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			text, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			all = append(all, text)
		}
	}
	if len(all) < 150 {
		t.Fatalf("only %d sequences", len(all))
	}
	return all
}

// ledger is a terminal that keeps only the modes that are switched on. It was written from the
// terminals' own documentation, not from the model. A mode at rest has no entry.
type ledger struct {
	state  map[string]string
	titles []string
}

var token = regexp.MustCompile(`^(?s:\x1b\[([<-?]?)([0-9;:]*)([ -/]*)([@-~])|\x1b\](P[0-9a-f]{7}|[^\x07\x18\x1b]*)(?:\x07|\x1b\\)?|\x1bP([^\x18\x1b]*)(?:\x1b\\)?|\x1b_[^\x18\x1b]*(?:\x1b\\)?|\x1b([ -/]*)([\x030-~])|.)`)

func (l *ledger) write(text string) {
	for len(text) > 0 {
		m := token.FindStringSubmatch(text)
		text = text[len(m[0]):]
		switch {
		case m[4] != "":
			l.csi(m[1]+m[3]+m[4], m[2])
		case strings.HasPrefix(m[0], "\x1b]"):
			l.osc(m[5])
		case strings.HasPrefix(m[0], "\x1bP"):
			if strings.Contains(m[6], "|") {
				l.put("user keys", strings.TrimPrefix(m[6], "00;1|"))
			}
		case m[8] != "":
			l.esc(m[7], m[8])
		case m[0] == "\x0e", m[0] == "\x0f":
			l.put("shift", strings.TrimSuffix(m[0], "\x0f"))
		}
	}
}

// put sets an entry; the empty value is rest.
func (l *ledger) put(key, value string) {
	if value == "" {
		delete(l.state, key)
		return
	}
	l.state[key] = value
}

// on lists the modes that are on in the rest state.
var on = map[string]bool{
	"?2": true, "?7": true, "?8": true, "?25": true, "?30": true, "?35": true, "?1034": true, "?1035": true, "?1036": true,
	"?1046": true, "?1070": true, "?7766": true, "?7786": true, "12": true, "8": true,
}

func (l *ledger) mode(name string, set bool) {
	switch name {
	case "?47", "?1047", "?1049":
		name = "alternate"
	case "?2":
		if !set { // xterm comes back from VT52 mode as a VT100
			l.put("\"p", "61")
		}
	case "?69":
		if !set {
			l.put("side margins", "")
		}
	}
	value := ""
	if set != on[name] {
		value = fmt.Sprint(set)
	}
	l.put("mode "+name, value)
}

// resting lists the parameters with which a control sequence restores the rest state.
var resting = map[string][]string{
	"i": {"4"}, "?i": {"4"}, "$}": {"0"}, "$~": {"0"}, "\"p": {"64;1", "65;1"}, "\"q": {"0", ""}, "*x": {"0", "1", ""}, "#y": {"0", ""},
	">p": {"1"}, ">s": {"0", ""}, "?c": {"0", ""}, " q": {"0", ""}, "> q": {"0;4"}, "m": {"", "0"}, "r": {""}, "'z": {"0", ""}, "q": {"0", ""},
}

func (l *ledger) csi(name, params string) {
	p := strings.Split(params, ";")
	kitty := "kitty " + l.state["mode alternate"]
	pushed, _ := strconv.Atoi(l.state[kitty])
	switch name {
	case "h", "l", "?h", "?l":
		for _, n := range p {
			l.mode(strings.TrimRight(name, "hl")+n, strings.HasSuffix(name, "h"))
		}
	case ">u":
		l.put(kitty, fmt.Sprint(pushed+1))
	case "=u":
		l.put(kitty, fmt.Sprint(max(pushed, 1)))
	case "<u":
		n, _ := strconv.Atoi(p[0])
		l.put(kitty, strings.TrimPrefix(fmt.Sprint(max(0, pushed-max(n, 1))), "0"))
	case ">m", ">f":
		l.put(name+p[0], strings.Join(p[1:], ";"))
	case ">n":
		l.put(">m"+p[0], "off")
	case ">t", ">T":
		if name == ">t" || params == "0;1;2;3" { // xterm restores nothing for an empty list
			l.put("title modes", map[string]string{">t": params + "!"}[name])
		}
	case "s":
		if l.state["mode ?69"] != "" {
			l.put("side margins", params)
		}
	case "t":
		l.window(p)
	default:
		if rest, ok := resting[name]; ok && slices.Contains(rest, params) {
			l.put(name, "")
		} else if ok {
			l.put(name, params)
		}
	}
}

func (l *ledger) window(p []string) {
	switch what := p[0]; what {
	case "1", "2":
		l.put("minimized", strings.TrimPrefix(what, "1"))
	case "9", "10":
		l.put("window "+what, strings.TrimPrefix(p[1], "0"))
	case "22":
		l.titles = append(l.titles, l.state["title"]+"\x00"+l.state["icon"])
	case "23":
		if n := len(l.titles) - 1; n >= 0 {
			title, icon, _ := strings.Cut(l.titles[n], "\x00")
			l.put("title", title)
			l.put("icon", icon)
			l.titles = l.titles[:n]
		}
	}
}

func (l *ledger) esc(inter, final string) {
	switch {
	case inter != "" && strings.Contains("()*+", inter[:1]):
		l.put("set "+fmt.Sprint(strings.Index("()*+", inter[:1])), strings.TrimPrefix(inter[1:]+final, "B"))
	case inter != "" && strings.Contains("-./", inter[:1]):
		l.put("set "+fmt.Sprint(strings.Index("-./", inter[:1])+1), final)
	case inter == " ":
		l.put("C1", strings.TrimPrefix(final, "F"))
	case inter == "%":
		l.put("coding", strings.TrimPrefix(final, "G"))
	case final == "=" || final == ">":
		l.put("keypad", strings.TrimPrefix(final, ">"))
	case final == "n" || final == "o":
		l.put("shift", final)
	case strings.Contains("~}|", final):
		l.put("right set", strings.TrimPrefix(final, "}"))
	case final == "l" || final == "m":
		l.put("memory lock", strings.TrimPrefix(final, "m"))
	case final == "<":
		l.put("mode ?2", "")
	case final == "\x03":
		l.put("mode ?38", "")
	}
}

func (l *ledger) osc(text string) {
	number, rest, _ := strings.Cut(text, ";")
	n, err := strconv.Atoi(number)
	switch name, value, _ := strings.Cut(rest, "="); {
	case err != nil:
		l.put("console colours", strings.Trim(number, "R"))
	case n == 0 || n == 2:
		l.put("title", rest)
		if n == 0 {
			l.put("icon", rest)
		}
	case n == 1:
		l.put("icon", rest)
	case n == 4 || n == 5:
		for f := strings.Split(rest, ";"); len(f) > 1; f = f[2:] {
			l.put(fmt.Sprint("colour ", n, " ", f[0]), f[1])
		}
	case n == 104 || n == 105:
		for key := range maps.Clone(l.state) {
			if at, ok := strings.CutPrefix(key, fmt.Sprint("colour ", n-100, " ")); ok && (rest == "" || slices.Contains(strings.Split(rest, ";"), at)) {
				l.put(key, "")
			}
		}
	case n >= 10 && n <= 19:
		for i, value := range strings.Split(rest, ";") {
			l.put(fmt.Sprint("dynamic ", n+i), value)
		}
	case n >= 110 && n <= 119:
		l.put(fmt.Sprint("dynamic ", n-100), "")
	case n == 6:
		l.put("tab colour", strings.TrimSuffix(rest, "1;bg;*;default"))
	case n == 9:
		l.put("progress", strings.TrimSuffix(rest, "4;0"))
	case n == 8:
		l.put("link", strings.TrimLeft(rest, ";"))
	case n == 7 || n == 22:
		l.put(number, rest)
	case n == 21:
		for _, pair := range strings.Split(rest, ";") {
			name, value, _ := strings.Cut(pair, "=")
			l.put("kitty colour "+name, value)
		}
	case (n == 50 || n == 1337) && name == "CursorShape":
		l.put(" q", value)
	case n == 50:
		l.put("font", strings.TrimPrefix(rest, "#0"))
	case n == 1337:
		l.put(name, strings.TrimSuffix(value, "no"))
	}
}

// TestNothingStaysOn checks that Undo switches off every mode that a program has left on, and
// that Undo of its own output is empty. Tab stops are where they were, and later output is shown.
func TestNothingStaysOn(t *testing.T) {
	const cols, rows = 80, 24
	check := func(prints string, evident bool) {
		t.Helper()
		l := &ledger{state: map[string]string{"title": "mine", "icon": "mine"}}
		head := string(PushTitle(nil, "x: ~d leaves"))
		s := New(cols, rows, Options{})
		s.Write([]byte(head + prints))
		l.write(head + prints)
		if cut := s.parser.state != ground; evident && !cut && len(l.state) <= 2 && l.state["title"] == "x: ~d leaves" && l.state["icon"] == "mine" && s.usualTabs() {
			t.Errorf("%q switches nothing on", prints)
		}
		undo := s.Undo(nil)
		l.write(string(undo))
		l.put("mode ?1049", "")
		if want := map[string]string{"title": "mine", "icon": "mine"}; !maps.Equal(l.state, want) || len(l.titles) > 0 {
			t.Errorf("%q is undone by %q; what stays is %q", prints, undo, l.state)
		}
		s.Write(undo)
		if again := s.Undo(nil); len(again) > 0 {
			t.Errorf("%q is undone by %q, and then there is still %q", prints, undo, again)
		}
		l.write(Rest)
		if len(l.state) != 2 {
			t.Errorf("the bytes for every terminal switch on %q", l.state)
		}
		s.Write([]byte("\r\x1b[K\tX\r\t\tY"))
		if text := string(s.Text(nil)); !strings.Contains(text, "        X       Y") {
			t.Errorf("after %q and %q a terminal shows %q", prints, undo, text)
		}
	}
	all := stays(t)
	for _, prints := range all {
		check(prints, true)
		check("text\r\n"+prints+"\r\nmore", false)
	}
	check(strings.Join(all[:len(all)-5], ""), true)
	for _, off := range []string{
		"\x1b[?9001h\x1b[?9001l", "\x1b[12l\x1b[12h", "\x1b[5i\x1b[4i", "\x1b G\x1b F", "\x1b(K\x1b(B", "\x1b[3g\x1b[?5W",
		"\x1b]22;wait\a\x1b]22;\a", "\x1b[>1;3m\x1b[>1m", "\x1b]21;a=b\a\x1b]21;a\a", "\x1b[9;1t\x1b[9;0t", "\x1b[?1046l\x1b[?1046h", "\x1bP0;1|17/68\x1b\\\x1bP00;1|\x1b\\",
		"\x1b[?2l\x1b<\x1b[65;1\"p", "\x1b[?2l\x1b[?9001h\x1b[2h\x1bc", "\x1b[?12345h\x1b[?12345l", "\x1b]50;x\a\x1b]50;#0\a",
	} {
		s := New(cols, rows, Options{})
		s.Write([]byte(off))
		if undo := s.Undo(nil); len(undo) > 0 {
			t.Errorf("%q is switched off already, and is undone by %q", off, undo)
		}
	}
}

// TestTheTitleAfterAFullReset checks that the title of a session does not stay after a program has
// reset the terminal. Some terminals then drop the pushed titles; xterm does not.
func TestTheTitleAfterAFullReset(t *testing.T) {
	s := New(80, 24, Options{})
	s.Write(append(PushTitle(nil, "x: ~d leaves"), "\x1b[22t\x1bc\x1b[22t"...))
	undo := s.Undo(nil)
	if want := "\x1b]0;\x1b\\" + strings.Repeat("\x1b[23;0t", 3); string(undo) != want {
		t.Errorf("undone by %q, want %q", undo, want)
	}
	s.Write(undo)
	if again := s.Undo(nil); len(again) > 0 {
		t.Errorf("and then there is still %q", again)
	}
}

// TestTheUsersModesComeBack checks that Undo restores the modes that the terminal still keeps, and
// no others: VTE switches off a mode that it does not keep, such as that of the Alt key.
func TestTheUsersModesComeBack(t *testing.T) {
	const save, restore = SaveModes, restoreModes
	for prints, want := range map[string]string{
		"":                             restore,
		"\x1b[?1007h\x1b[?1036l":       "\x1b[?1007l\x1b[?1036h" + restore,
		save + "\x1b[?1036l" + restore: "", // another keyway in the session
		"\x1b[?1036;12s\x1b[?1036r":    "",
		"\x1b[?12s\x1b[?12r":           restore,
		"\x1b[!p":                      "",
		"\x1bc":                        "",
		"\x1b[!p" + save:               restore,
	} {
		s := New(80, 24, Options{})
		s.Write([]byte(save + prints))
		undo := s.Undo(nil)
		if string(undo) != want {
			t.Errorf("%q is undone by %q, want %q", prints, undo, want)
		}
		s.Write(undo)
		if again := s.Undo(nil); len(again) > 0 {
			t.Errorf("%q: and then there is still %q", prints, again)
		}
	}
}

// TestResidueIsBounded checks that the state that is kept for Undo is bounded.
func TestResidueIsBounded(t *testing.T) {
	s := New(80, 24, Options{})
	for n := range 10_000 {
		fmt.Fprintf(s, "\x1b[?%dh\x1b[%dh\x1b]21;c%d=red\x1b\\\x1b[>%d;1m\x1b[22t", n, n, n, n)
	}
	if undo := s.Undo(nil); len(undo) > 8<<10 {
		t.Errorf("undone by %d bytes", len(undo))
	}
}
