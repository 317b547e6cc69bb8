package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
)

// machine has clocks that the test turns.
type machine struct{ up, slept atomic.Int64 }

func (m *machine) config(c Config) Config {
	c.uptime = func() time.Duration { return time.Hour + time.Duration(m.up.Load()) }
	c.asleep = func() time.Duration { return time.Duration(m.slept.Load()) }
	return c
}

func (m *machine) wait(d time.Duration)  { m.up.Add(int64(d)) }
func (m *machine) sleep(d time.Duration) { m.wait(d); m.slept.Add(int64(d)) }

func forgetting(t *testing.T, words ...string) func() *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte("forget: [" + strings.Join(words, ", ") + "]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return func() *policy.Policy { return p }
}

// watched returns a running agent that checks files and the clock as keyway agent does.
func watched(t *testing.T, c Config) *running {
	t.Helper()
	a := start(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.Watch(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return a
}

func TestForgetsWhenIdle(t *testing.T) {
	w := theWorld()
	var m machine
	a := start(t, m.config(Config{Policy: forgetting(t, "idle=30m")}))
	c := dial(t, a.local)
	m.wait(time.Hour)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	login := loginMessage(s1, "root", w.me.public, nil)
	for range 3 { // a signature restarts the idle time, a list of keys does not
		m.wait(29 * time.Minute)
		c.expect(t, "login", login, true)
	}
	m.wait(29 * time.Minute)
	if n := len(listed(c.expect(t, "list", []byte{msgList}, true))); n != 1 {
		t.Errorf("%d keys before it is time", n)
	}
	m.wait(time.Minute)
	c.expect(t, "login after half an hour", login, false)
	if n := len(listed(c.expect(t, "list", []byte{msgList}, true))); n != 0 {
		t.Errorf("%d keys", n)
	}
	forgets := 0
	for _, e := range a.log.events {
		if e.Event == "remove" && strings.Contains(e.Reason, "no signature for 30m") {
			forgets++
		}
	}
	if forgets != 1 {
		t.Errorf("the log has it %d times", forgets)
	}
}

func TestForgetsAfterSleep(t *testing.T) {
	w := theWorld()
	for _, c := range []struct {
		words  string
		forget bool
	}{{"sleep", true}, {"screen-lock", false}, {"never", false}} {
		var m machine
		a := start(t, m.config(Config{Policy: forgetting(t, c.words)}))
		asker := dial(t, a.local)
		asker.expect(t, "add", addMessage(w.me, "me"), true)
		m.wait(time.Hour)
		asker.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), true)
		m.sleep(10 * time.Minute)
		asker.expect(t, "login after sleep, "+c.words, loginMessage(s1, "root", w.me.public, nil), !c.forget)
	}
}

// TestTriggersCanBeChanged checks that keyway unlock --forget-on changes the triggers of the running
// agent.
func TestTriggersCanBeChanged(t *testing.T) {
	w := theWorld()
	var m machine
	a := start(t, m.config(Config{Policy: forgetting(t, "idle=30m")}))
	c := dial(t, a.local)
	tell := func(words string) []byte { return join([]byte{msgExtension}, text(extForget), text(words)) }
	a.bound(t, bindMessage(w.bastion, s1, true)).expect(t, "from far away", tell("never"), false)
	dial(t, a.forward).expect(t, "from far away, unsaid", tell("never"), false)
	c.expect(t, "nonsense", tell("lunch"), false)
	c.expect(t, "tell", tell("idle=1h,sleep"), true)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	m.wait(59 * time.Minute)
	c.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), true)
	m.wait(time.Hour)
	c.expect(t, "login after an hour", loginMessage(s1, "root", w.me.public, nil), false)
	if e := a.triggers(); e != (policy.Forget{Idle: time.Hour, Sleep: true}) {
		t.Errorf("%+v", e)
	}
}

// systemBus returns a bus of the test's own, on which a stand-in has logind's name.
func systemBus(t *testing.T) (emit func(signal string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kwb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := "unix:path=" + filepath.Join(dir, "bus")
	bus := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address", "--address="+address)
	out, err := bus.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Process.Kill(); bus.Wait() })
	if _, err := fmt.Fscan(out, new(string)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	python := exec.Command("/usr/bin/python3", "-u", "-c", logindScript, address)
	in, err := python.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	python.Stderr = os.Stderr
	ready, err := python.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := python.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); python.Wait() })
	if _, err := fmt.Fscan(ready, new(string)); err != nil {
		t.Fatal(err)
	}
	return func(signal string) {
		if _, err := fmt.Fprintln(in, signal); err != nil {
			t.Error(err)
		}
	}
}

const logindScript = `
import sys, dbus, dbus.bus, dbus.lowlevel
bus = dbus.bus.BusConnection(sys.argv[1])
bus.request_name("org.freedesktop.login1")
print("ready")
manager, session = "/org/freedesktop/login1", "/org/freedesktop/login1/session/_37"
for line in sys.stdin:
    name = line.strip()
    if name.startswith("sleep"):
        m = dbus.lowlevel.SignalMessage(manager, "org.freedesktop.login1.Manager", "PrepareForSleep")
        m.append(name == "sleep", signature="b")
    elif name == "lock":
        m = dbus.lowlevel.SignalMessage(session, "org.freedesktop.login1.Session", "Lock")
    else:
        m = dbus.lowlevel.SignalMessage(session, "org.freedesktop.DBus.Properties", "PropertiesChanged")
        hint = {"IdleHint": dbus.Boolean(True), "LockedHint": dbus.Boolean(name == "hint")}
        m.append("org.freedesktop.login1.Session", hint, [], signature="sa{sv}as")
    bus.send_message(m)
    bus.flush()
`

func TestForgetsAsLogindSays(t *testing.T) {
	emit := systemBus(t)
	w := theWorld()
	for _, c := range []struct {
		words, signal, not string
		reason             string
	}{
		{"sleep", "sleep", "sleep ended", "the machine goes to sleep"},
		{"screen-lock", "lock", "unhint", "the screen is locked"},
		{"screen-lock", "hint", "sleep", "the screen is locked"},
	} {
		a := watched(t, Config{Policy: forgetting(t, c.words)})
		asker := dial(t, a.local)
		asker.expect(t, "add", addMessage(w.me, "me"), true)
		count := func() int { return len(listed(asker.expect(t, "list", []byte{msgList}, true))) }
		// The start of the monitor has no event, so the signal is repeated until it has an effect.
		// The agent forgets the keys before it writes the reason into the log.
		await(t, func() bool {
			emit(c.not)
			emit(c.signal)
			return strings.Contains(a.log.last().Reason, c.reason)
		})
		if n := count(); n != 0 {
			t.Errorf("%s: %d keys are left", c.signal, n)
		}
	}
}

func TestSignalParser(t *testing.T) {
	said := `signal time=1732.5 sender=org.freedesktop.DBus -> destination=:1.9 serial=2 path=/org/freedesktop/DBus; interface=org.freedesktop.DBus; member=NameAcquired
   string ":1.9"
signal time=1732.6 sender=:1.3 -> destination=(null destination) serial=81 path=/org/freedesktop/login1/session/c2; interface=org.freedesktop.DBus.Properties; member=PropertiesChanged
   string "org.freedesktop.login1.Session"
   array [
      dict entry(
         string "IdleHint"
         variant             boolean true
      )
      dict entry(
         string "LockedHint"
         variant             boolean false
      )
   ]
signal time=1732.7 sender=:1.3 -> destination=(null destination) serial=82 path=/org/freedesktop/login1/session/_32; interface=org.freedesktop.login1.Session; member=Lock
signal time=1732.8 sender=:1.3 -> destination=(null destination) serial=83 path=/org/freedesktop/login1; interface=org.freedesktop.login1.Manager; member=PrepareForSleep
   boolean false
signal time=1732.9 sender=:1.3 -> destination=(null destination) serial=84 path=/org/freedesktop/login1; interface=org.freedesktop.login1.Manager; member=PrepareForSleep
   boolean true
`
	var got []logindSignal
	if err := readSignals(strings.NewReader(said), func(s logindSignal) { got = append(got, s) }); err != nil {
		t.Fatal(err)
	}
	if want := []logindSignal{{session: "_32"}, {sleep: true}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
	}
	for path, want := range map[string]string{"_32": "2", "c2": "c2", "_3": "_3", "a_5fb": "a_b", "": "", "_zz": "_zz"} {
		if got := sessionID(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func FuzzSignals(f *testing.F) {
	f.Add("signal path=/org/freedesktop/login1/session/_32; member=Lock\n   boolean true\n")
	f.Add("signal member=PropertiesChanged\n string \"LockedHint\"\n variant boolean true\n")
	f.Fuzz(func(t *testing.T, said string) {
		n := 0
		readSignals(strings.NewReader(said), func(s logindSignal) { n++; sessionID(s.session) })
		if n > strings.Count(said, "\n")+1 {
			t.Errorf("%d signals", n)
		}
	})
}

// TestShorten checks that every client that may do so can shorten a key's lifetime; none can extend
// it.
func TestShorten(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	client := must(Dial(a.local))
	defer client.Close()
	mine := ssh.FingerprintSHA256(w.me.public)
	until := func() time.Duration {
		t.Helper()
		keys, err := client.Keys(t.Context())
		if err != nil || len(keys) != 1 {
			t.Fatalf("%+v %v", keys, err)
		}
		return time.Until(keys[0].Until).Round(time.Minute)
	}
	for _, step := range []struct {
		key        string
		life, want time.Duration
		done       bool
	}{
		{mine, 12 * time.Hour, 12 * time.Hour, true}, {mine, time.Hour, time.Hour, true}, {mine, 2 * time.Hour, time.Hour, false},
		{mine, 0, time.Hour, false}, {"SHA256:other", time.Minute, time.Hour, false},
	} {
		done, err := client.Shorten(t.Context(), step.key, step.life)
		if err != nil || done != step.done || until() != step.want {
			t.Errorf("%+v: %v %v, then %v are left", step, done, err, until())
		}
	}
	far := dial(t, a.forward)
	far.expect(t, "from far away", join([]byte{msgExtension}, text(extLifetime), text(mine), []byte{0, 0, 0, 1}), false)
	if until() != time.Hour {
		t.Error("a remote asker changed it")
	}
	c.expect(t, "triggers", join([]byte{msgExtension}, text(extForget), text("idle=30m,sleep")), true)
	if keys, err := client.Keys(t.Context()); err != nil || !slices.Equal(keys[0].ForgetOn, []string{"idle=1800s", "sleep"}) {
		t.Errorf("%+v %v", keys, err)
	}
}
