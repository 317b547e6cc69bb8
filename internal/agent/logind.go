package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"keyway/internal/audit"
	"keyway/internal/sleep"
)

// logindMonitor is the program that reports systemd-logind's signals. The agent has no D-Bus code
// of its own, because that would be network code.
const logindMonitor = "dbus-monitor"

const (
	maxMonitorLine  = 64 << 10        // bytes
	monitorAgain    = 5 * time.Second // after it ended: the bus may be starting
	askLogindWithin = 5 * time.Second
)

// ErrNoLogind means that the screen's lock cannot be followed here.
var ErrNoLogind = errors.New("the screen lock cannot be followed: there is no " + logindMonitor)

// canFollowLogind returns an error if logind cannot be followed.
func canFollowLogind() error {
	if _, err := exec.LookPath(logindMonitor); err != nil {
		return ErrNoLogind
	}
	return nil
}

// followLogind forgets the keys when logind says that the machine is about to
// sleep or the screen is locked, until ctx ends.
func (a *Agent) followLogind(ctx context.Context) {
	for said := false; ; {
		err := a.monitorLogind(ctx)
		if ctx.Err() != nil {
			return
		}
		if !said {
			a.note(audit.Event{Event: audit.Watch, Verdict: audit.Failed, Reason: err.Error()})
			said = true
		}
		if sleep.For(ctx, monitorAgain) != nil {
			return
		}
	}
}

// monitorLogind returns when the monitor ends, with the reason.
func (a *Agent) monitorLogind(ctx context.Context) error {
	if err := canFollowLogind(); err != nil {
		return err
	}
	match := "type='signal',sender='org.freedesktop.login1',interface="
	cmd := exec.CommandContext(ctx, logindMonitor, "--system",
		match+"'org.freedesktop.login1.Manager',member='PrepareForSleep'",
		match+"'org.freedesktop.login1.Session',member='Lock'",
		match+"'org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.login1.Session'")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = readSignals(out, func(s logindSignal) { a.onSignal(ctx, s) })
	cmd.Process.Kill()
	if ended := cmd.Wait(); err == nil {
		err = errors.New(logindMonitor + " ended: " + ended.Error())
	}
	return err
}

func (a *Agent) onSignal(ctx context.Context, s logindSignal) {
	f := a.triggers()
	switch {
	case s.sleep && f.Sleep:
		a.forgetAway("the machine goes to sleep")
	case !s.sleep && f.ScreenLock && isOurSession(ctx, s.session):
		a.forgetAway("the screen is locked")
	}
}

// logindSignal is of a machine that goes to sleep, or of a session whose screen is
// locked.
type logindSignal struct {
	sleep   bool
	session string
}

// readSignals reads what dbus-monitor prints until it ends.
func readSignals(r io.Reader, each func(logindSignal)) error {
	var p signalParser
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMonitorLine)
	for lines.Scan() {
		if s, ok := p.line(lines.Text()); ok {
			each(s)
		}
	}
	return lines.Err()
}

// signalParser reads a signal's first line, which names it, and then its values.
type signalParser struct {
	member, session string
	hint            bool // the next value is that of LockedHint
}

const sessionPath = "/org/freedesktop/login1/session/"

func (p *signalParser) line(line string) (logindSignal, bool) {
	if strings.HasPrefix(line, "signal ") {
		*p = signalParser{member: fieldOf(line, "member=")}
		p.session, _ = strings.CutPrefix(fieldOf(line, "path="), sessionPath)
		return logindSignal{session: p.session}, p.member == "Lock"
	}
	value := strings.TrimSpace(line)
	isTrue := strings.HasSuffix(value, "boolean true")
	switch {
	case p.member == "PrepareForSleep":
		return logindSignal{sleep: true}, isTrue
	case p.member == "PropertiesChanged" && p.hint:
		p.hint = false
		return logindSignal{session: p.session}, isTrue
	}
	p.hint = value == `string "LockedHint"`
	return logindSignal{}, false
}

func fieldOf(line, name string) string {
	_, after, _ := strings.Cut(line, name)
	value, _, _ := strings.Cut(after, ";")
	return strings.TrimSpace(value)
}

// isOurSession reports whether a session may be this user's: it returns false only if it
// certainly belongs to another.
func isOurSession(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, askLogindWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "loginctl", "show-session", "--property=User", "--value", "--", sessionID(path)).Output()
	uid, errUID := strconv.Atoi(strings.TrimSpace(string(out)))
	return err != nil || errUID != nil || uid == os.Getuid()
}

// sessionID undoes the escaping of D-Bus paths by systemd: _32 is the character
// 0x32.
func sessionID(path string) string {
	var id strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '_' && i+2 < len(path) {
			if c, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil {
				id.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		id.WriteByte(path[i])
	}
	return id.String()
}
