package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/policy"
)

func toDB() Question {
	w := theWorld()
	f := policy.Facts{
		Op: policy.Sign, Remote: true, Purpose: policy.Login, User: "root", Proven: true,
		From: naming(w.hosts).of(w.bastion.public), To: naming(w.hosts).of(w.db.public),
		Key: policy.Key{Fingerprint: "SHA256:x", Comment: "100% me\n"},
	}
	return Question{ID: 1, Facts: f, Grantable: policy.Grantable(f)}
}

// dialogue returns a program that speaks Assuan. answers has its answer to each command; without
// one, it answers OK.
func dialogue(answers map[string]string) (*assuan, *bytes.Buffer) {
	var sent bytes.Buffer
	out, said := io.Pipe()
	in, commands := io.Pipe()
	go func() { // ends with the test's pipe
		defer said.Close()
		fmt.Fprintln(said, "OK Pleased to meet you")
		for s := bufio.NewScanner(in); s.Scan(); {
			sent.WriteString(s.Text() + "\n")
			word, _, _ := strings.Cut(s.Text(), " ")
			answer := answers[word]
			if answer == "" {
				answer = "OK"
			}
			io.WriteString(said, answer+"\n")
		}
	}()
	return &assuan{in: commands, out: bufio.NewReaderSize(out, maxAssuanLine+2)}, &sent
}

func TestPinentryAnswers(t *testing.T) {
	t.Setenv("GPG_TTY", "/dev/pts/9")
	const notConfirmed, canceled, timeout = "ERR 83886194 Not confirmed <Pinentry>", "ERR 83886179 Operation cancelled <Pinentry>", "ERR 83886142 Timeout <Pinentry>"
	once := toDB()
	once.Grantable = false
	for _, c := range []struct {
		name    string
		q       Question
		answers map[string]string
		want    Answer
		fails   bool
	}{
		{"yes", toDB(), nil, Answer{Allow: true}, false},
		{"the middle button", toDB(), map[string]string{"CONFIRM": notConfirmed}, Answer{Allow: true, For: 15 * time.Minute}, false},
		{"no", toDB(), map[string]string{"CONFIRM": canceled}, Answer{}, false},
		{"the window closed", toDB(), map[string]string{"CONFIRM": "S BUTTON_INFO close\n" + notConfirmed}, Answer{}, false},
		{"a program without a middle button", toDB(), map[string]string{"SETNOTOK": "ERR 83886355 Unknown IPC command", "CONFIRM": notConfirmed}, Answer{}, false},
		{"what cannot hold", once, map[string]string{"CONFIRM": notConfirmed}, Answer{}, false},
		{"nobody there", toDB(), map[string]string{"CONFIRM": timeout}, Answer{}, true},
		{"no terminal", toDB(), map[string]string{"CONFIRM": "ERR 83918950 Inappropriate ioctl for device"}, Answer{}, true},
		{"options unknown", toDB(), map[string]string{"OPTION": "ERR 1", "SETTIMEOUT": "ERR 1"}, Answer{Allow: true}, false},
		{"it does not take the question", toDB(), map[string]string{"SETDESC": "ERR 1 no"}, Answer{}, true},
		{"nonsense", toDB(), map[string]string{"CONFIRM": "YES"}, Answer{}, true},
		{"a long line", toDB(), map[string]string{"CONFIRM": "OK " + strings.Repeat("x", 2000)}, Answer{}, true},
		{"endless status", toDB(), map[string]string{"CONFIRM": strings.Repeat("S x\n", 200) + "OK"}, Answer{}, true},
	} {
		a, sent := dialogue(c.answers)
		got, err := confirmBy(a, c.q)
		a.in.(*io.PipeWriter).Close()
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
		if !strings.Contains(sent.String(), `SETDESC bastion asks to log in to db as root with the key "100%25 me\n" (SHA256:x).%0AThe`) {
			t.Errorf("%s: it was told\n%s", c.name, sent.String())
		}
	}
}

// TestLongQuestionIsCut checks that a question fits on a line, however long the asker's texts are.
func TestLongQuestionIsCut(t *testing.T) {
	q := toDB()
	q.Facts.User = strings.Repeat("\n%é", 2000)
	a, sent := dialogue(nil)
	if _, err := confirmBy(a, q); err != nil {
		t.Fatal(err)
	}
	a.in.(*io.PipeWriter).Close()
	for line := range strings.Lines(sent.String()) {
		if len(line) > maxAssuanLine+1 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func FuzzAssuan(f *testing.F) {
	f.Add("OK\n")
	f.Add("S PROGRESS x\n# c\nERR 83886194 Not confirmed\n")
	f.Add("ERR x\n")
	f.Fuzz(func(t *testing.T, said string) {
		a := &assuan{in: io.Discard, out: bufio.NewReaderSize(strings.NewReader(said), maxAssuanLine+2)}
		answer, err := confirmBy(a, toDB())
		if err != nil && answer != (Answer{}) {
			t.Errorf("%+v although %v", answer, err)
		}
		var refused *assuanError
		if errors.As(err, &refused) && len(refused.Error()) > 1000 {
			t.Errorf("%d bytes of error", len(refused.Error()))
		}
		if line := assuanEscape(said, 100); len(line) > 100 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("%q", line)
		}
	})
}

// TestPinentryIsTakenBack checks that the agent ends the program when the asker disconnects.
func TestPinentryIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	program, pid := filepath.Join(dir, "pinentry"), filepath.Join(dir, "pid")
	script := "#!/bin/sh\necho OK\nwhile read -r line; do\n  case $line in CONFIRM*) echo $$ >" + pid + ".new; mv " + pid + ".new " + pid + "; exec sleep 1000;; esac\n  echo OK\ndone\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_ASKPASS", "")
	t.Setenv("GPG_TTY", "/dev/pts/9")
	p := Pinentry{Program: program}
	if !p.CanAsk() {
		t.Fatal("it cannot ask")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the asker hung up")
	ended := make(chan error, 1)
	go func() {
		_, err := p.Ask(ctx, toDB())
		ended <- err
	}()
	await(t, func() bool { _, err := os.Stat(pid); return err == nil })
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("kill", "-0", strings.TrimSpace(string(text))).Run(); err == nil {
		t.Error("it still runs")
	}
}

func TestAnswersAsTyped(t *testing.T) {
	for text, want := range map[string]Answer{
		"o": {Allow: true}, " Yes\n": {Allow: true}, "once": {Allow: true}, "m": {Allow: true, For: 15 * time.Minute},
		"15m": {Allow: true, For: 15 * time.Minute}, "always": {Allow: true, Ever: true}, "a": {Allow: true, Ever: true},
		"": {}, "n": {}, "deny": {}, "okay": {}, "of course not": {},
	} {
		if got := ParseAnswer(text, ""); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestAskpassGrades checks each answer that a user's SSH_ASKPASS program can give, besides yes and
// no.
func TestAskpassGrades(t *testing.T) {
	program := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n[ \"$SSH_ASKPASS_PROMPT\" = confirm ] && [ \"$KEYWAY_ANSWERS\" = once,15m,always,deny ] || exit 9\n"+
		"echo \"$SAY\"; exit ${STATUS:-0}\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_ASKPASS", program)
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	for _, c := range []struct {
		say, status string
		want        Answer
	}{
		{"", "0", Answer{Allow: true}}, {"yes", "0", Answer{Allow: true}}, {"15m", "0", Answer{Allow: true, For: 15 * time.Minute}},
		{"always", "0", Answer{Allow: true, Ever: true}}, {"deny", "0", Answer{}}, {"what?", "0", Answer{}}, {"always", "1", Answer{}},
	} {
		t.Setenv("SAY", c.say)
		t.Setenv("STATUS", c.status)
		c.want.By = program
		if got, err := (Askpass{}).Ask(t.Context(), toDB()); err != nil || got != c.want {
			t.Errorf("%q, %s: %+v %v", c.say, c.status, got, err)
		}
	}
}

// TestOneDialogAtATime checks that one window is open at a time, and that the question of an asker
// that has disconnected does not wait for a window.
func TestOneDialogAtATime(t *testing.T) {
	me := newPerson()
	d := newDialog([]Asker{me})
	first := make(chan error, 1)
	go func() { _, err := d.Ask(t.Context(), toDB()); first <- err }()
	<-me.asked
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { _, err := d.Ask(ctx, toDB()); second <- err }()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) || len(me.asked) != 0 {
		t.Errorf("%v", err)
	}
	me.said <- Answer{}
	if err := <-first; err != nil {
		t.Error(err)
	}
}
