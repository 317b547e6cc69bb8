package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/plain"
)

// errDropped marks that a host closed the connection before it had sent its SSH version: it may
// have had too many connections at that moment.
var errDropped = errors.New("dropped before the host has said what it is")

// diagnose explains to the user why p, an ssh that has ended, did not lead to the place's node.
// noise is the place's standard output.
func (s starter) diagnose(ctx context.Context, p *nodeProcess, place keyway.Place, noise string, err error) error {
	if p.dial == nil {
		if m := reLimited.FindStringSubmatch(p.errors.String()); m != nil {
			return limited(string(keyway.Local), m[1])
		}
		return keyway.Errorf(keyway.Other, "the node on this machine does not start: %s", brief(p.errors.String()))
	}
	route := p.dial.route()
	for i, h := range route {
		st := h.state()
		if st.fault == noFault {
			continue
		}
		c := complaint{place: string(place), hop: h.name, state: st, told: h.told(), greeted: h.greeted()}
		if i < len(route)-1 {
			c.next = route[i+1].name
		}
		if i > 0 {
			c.before = quoted(route[i-1].name, route[i-1].told())
		}
		// An ssh -W to a jump host that has logged in and prints nothing has not failed itself: the
		// host behind it has ended the connection.
		c.command = slices.Contains(s.commands, h.name) && (i == 0 || c.before+c.greeted != "")
		if st.fault == keyChanged && s.known != nil {
			c.files = s.known(ctx, h.name)
		}
		if st.fault == resolverDown && s.isHost != nil && !s.isHost(ctx, h.name) {
			c.state.fault, c.state.detail = unresolved, "your ~/.ssh/config does not have it, and its name cannot be looked up now (no network, or the VPN is off?)"
		}
		return c.inWords()
	}
	last := route[len(route)-1]
	// An ssh that has logged nothing has reached no host: the messages are its own.
	if nobody := keyway.NoSuchUser(last.told() + last.greeted()); nobody != nil && len(last.own()) == 0 {
		return nobody
	}
	return endedWithoutFault(string(place), last.state().authenticated, last.greeted(), err, noise, last.said.String())
}

// reLimited matches the message of a Go program, the node, that a limit does not let it start. The
// long trace that follows helps no user.
var reLimited = lazyregexp.New(`(?m)^(?:fatal error|runtime): (failed to reserve page summary memory|failed to create new OS thread|(?:runtime: )?(?:out of memory|cannot (?:allocate|reserve|map)[^\r\n]{0,80}))`)

func limited(place, why string) error {
	return keyway.Errorf(keyway.Other, "a limit at %s does not let keyway's node start: “%s”", place, why).
		Hint("which one is too low, the memory or the processes: %s", typedAt(keyway.Place(place), "ulimit -a"))
}

// endedWithoutFault returns the error for an ssh without an error message: the place has
// ended the login, or has run another command than the requested one.
func endedWithoutFault(place string, in bool, greeted string, err error, said ...string) error {
	words := quoted(place, said...)
	if words == "" && !in {
		words = quoted(place, greeted)
	}
	if m := reLimited.FindStringSubmatch(strings.Join(said, "\n")); m != nil && in {
		return limited(place, m[1])
	}
	e := keyway.Errorf(keyway.Unreachable, "%s cannot be reached: the connection closed%s", place, words)
	try := "true"
	if in {
		try = "exec sh -c true" // a restricted shell runs true, but neither exec nor a program by its path
	}
	switch {
	case err != nil:
		e = keyway.Errorf(keyway.Other, "%s does not start keyway's node: %w%s", place, err, words)
	case in && words == "":
		e = keyway.Errorf(keyway.Unreachable, "%s let you in and ended the login without a word", place)
	case in:
		e = keyway.Errorf(keyway.Unreachable, "%s let you in, but runs no command%s", place, words)
	}
	return e.Hint("try by hand: ssh %s %s", plain.Shell(place), try)
}

// quoted marks a host's messages as its words; empty if there are none.
func quoted(host string, said ...string) string {
	words := brief(said...)
	if words == "" {
		return ""
	}
	return fmt.Sprintf("; %s says: “%s”", plain.Line(host), words)
}

// complaint is an error on the route to a place.
type complaint struct {
	place string
	hop   string // host of the ssh that reports it
	next  string // next host towards the place; empty: it is the place
	state sshState

	told, greeted string   // messages of the hop after the login, and before
	before        string   // those of the hop before it after the login, quoted
	command       bool     // a command of the user's leads to it, and may have failed
	files         []string // known_hosts files of the hop, from ssh -G
}

// where names the hop for people.
func (c complaint) where() string {
	if c.next == "" {
		return c.hop
	}
	return c.hop + ", on the route to " + c.place + ","
}

func (c complaint) try() string { return "ssh -v " + plain.Shell(c.hop) + " true" }

// inWords explains the error to the user: the hop, the cause, and the next command. That command is
// built from values, not from a host's words.
func (c complaint) inWords() error {
	st := c.state
	switch st.fault {
	case unresolved:
		return c.noSuchHost()
	case resolverDown:
		return keyway.Errorf(keyway.Unreachable, "the name %s cannot be looked up now: no network, or the VPN is off?", c.hop).
			Hint("when the network is there: %s", c.try())
	case unconnected:
		return keyway.Errorf(keyway.Unreachable, "%s cannot be reached: %s", c.where(), st.detail).Hint("try by hand: %s", c.try())
	case silent:
		return keyway.Errorf(keyway.Unreachable, "%s does not answer: it is down, or a firewall on the route drops what is sent to it", c.where()).
			Hint("is it up, are you in the network that it is in (the VPN?), and are HostName and Port right: ssh -G %s\ntry by hand: %s", plain.Shell(c.hop), c.try())
	case dropped, unidentified:
		if st.fault == unidentified && c.command { // the host has sent nothing that ssh repeats
			return keyway.Errorf(keyway.Unreachable, "the ProxyCommand for %s ended before %[1]s answered%s%s", c.hop, quoted("it", c.greeted), c.before).
				Hint("try by hand: %s", c.try())
		}
		err := errDropped
		if st.fault == dropped {
			err = errors.New("")
		}
		e := keyway.Errorf(keyway.Unreachable, "%s closed the connection before anybody was logged in%s%w", c.where(), quoted(c.hop, c.greeted), hide(err))
		if st.signing {
			return e.Hint("a host waits two minutes for a signature, or less: does the agent ask for confirmation, or for a touch? try by hand: %s", c.try())
		}
		return e.Hint("try by hand: %s", c.try())
	case broken:
		return keyway.Errorf(keyway.Unreachable, "the connection to %s broke%s", c.hop, quoted(c.hop, c.told)).Hint("try by hand: %s", c.try())
	case keyChanged:
		return c.hostKeyChanged()
	case keyUnknown:
		return keyway.Errorf(keyway.HostKeyUnknown, "%s is not known yet, and its key was not accepted", c.where()).
			Hint("compare its fingerprint with what its administrator publishes, once: ssh %s true", plain.Shell(c.hop))
	case refused:
		if st.unsigned != "" {
			return keyway.Errorf(keyway.Denied, "%s takes the key, but ssh got no signature with it for the login: %s", c.where(), brief(st.unsigned)).
				Hint("is there a window in which the agent asks for confirmation, or a security key to touch? try by hand: %s", c.try()).Advise(keyway.WhyUnsigned)
		}
		takes := strings.Split(st.detail, ",")
		if !slices.Contains(takes, "publickey") { // it wants no key, or has accepted one
			return keyway.Errorf(keyway.Denied, "%s does not let you in (it takes: %s): the answer to its question is wrong or missing", c.where(), strings.Join(takes, ", ")).
				Hint("try by hand: %s", c.try())
		}
		return keyway.Errorf(keyway.Denied, "%s does not accept your key (it takes: %s)", c.where(), strings.Join(takes, ", ")).
			Hint("try by hand: %s", c.try()).Advise(keyway.IsKeyUnlocked)
	case dismissed:
		return c.dismissed()
	case notThrough, mayNotThrough:
		return c.notThrough()
	case noCommon:
		offer := strings.TrimPrefix(st.said, ". Their offer: ")
		return keyway.Errorf(keyway.VersionMismatch, "%s and this ssh have no algorithm in common: %s%s", c.where(), st.detail, quoted(c.hop, offer)).
			Hint("try by hand: %s", c.try())
	case badConfig:
		return keyway.Errorf(keyway.BadConfig, "ssh cannot read its configuration: %s", brief(st.detail)).
			Hint("set that line right; ssh -G %s shows when it is", plain.Shell(c.hop))
	}
	return keyway.Errorf(keyway.Unreachable, "%s cannot be reached: %s%s", c.where(), brief(st.detail), quoted(c.hop, c.told)).
		Hint("try by hand: %s", c.try())
}

func (c complaint) noSuchHost() error {
	if strings.HasPrefix(c.state.detail, "Address family ") { // of getaddrinfo for an address in numbers
		return keyway.Errorf(keyway.BadConfig, "%s has no address of the kind that your AddressFamily permits", c.where()).
			Hint("see which is set: ssh -G %s", plain.Shell(c.hop))
	}
	if c.next == "" {
		return keyway.Errorf(keyway.UnknownPlace, "there is no host %s: %s", c.hop, c.state.detail).
			Advise(keyway.AddHost, c.hop)
	}
	return keyway.Errorf(keyway.UnknownPlace, "there is no host %s, through which the route to %s leads: %s", c.hop, c.place, c.state.detail).
		Hint("set its name right in the ProxyJump line of ~/.ssh/config; this shows it: ssh -G %s", plain.Shell(c.next))
}

func (c complaint) dismissed() error {
	kind := keyway.Denied
	if c.state.authenticated {
		kind = keyway.Unreachable
	}
	return keyway.Errorf(kind, "%s ended the connection%s", c.where(), quoted(c.hop, c.state.said)).
		Hint("try by hand: %s\nif it counts keys, name the right one in ~/.ssh/config: IdentityFile and IdentitiesOnly yes", c.try())
}

func (c complaint) notThrough() error {
	if c.state.fault == mayNotThrough {
		return keyway.Errorf(keyway.Unreachable, "%s lets nobody through to %s: it forbids forwarding%s", c.hop, c.next, quoted(c.hop, c.state.said)).
			Hint("ask the administrator of %s for AllowTcpForwarding yes in its sshd_config, and a PermitOpen that names %s if it has one", c.hop, c.next)
	}
	firewall := ""
	if c.state.said == timedOut {
		firewall = fmt.Sprintf("does a firewall let %s through to it, ", c.hop)
	}
	return keyway.Errorf(keyway.Unreachable, "%s answers, but does not reach %s%s", c.hop, c.next, quoted(c.hop, c.state.said)).
		Hint("is %s up, %sand is its name the one that %s knows? HostName and Port show with: ssh -G %s", c.next, firewall, c.hop, plain.Shell(c.next))
}

// hostKeyChanged names both fingerprints: the presented one, which ssh prints, and the remembered
// one, from a known_hosts file. Only files that ssh -G names count.
func (c complaint) hostKeyChanged() error {
	st := c.state
	shown, known := st.shown, "another one"
	if shown == "" {
		shown = "another one"
	}
	file, at := "", ""
	if slices.Contains(c.files, st.file) {
		file, at, known = st.file, fmt.Sprintf(" (%s:%s)", st.file, st.line), knownFingerprint(st.file, st.line)
	} else if len(c.files) > 0 {
		file = c.files[0]
	}
	remove := "ssh-keygen -R " + plain.Shell(st.nameOr(c.hop))
	if file != "" {
		remove += " -f " + plain.Shell(file)
	}
	return keyway.Errorf(keyway.HostKeyChanged, "the host key of %s is not the one it had: it shows %s, but %s is remembered%s", c.where(), shown, known, at).
		Hint("somebody may be listening in. Ask its administrator whether the key was changed; if so, remove the old one:\n%s", remove)
}

func (s sshState) nameOr(host string) string {
	if s.name != "" {
		return s.name
	}
	return host
}

// hidden wraps an error that has no message of its own.
type hidden struct{ error }

func hide(err error) error     { return hidden{err} }
func (h hidden) Error() string { return "" }
func (h hidden) Unwrap() error { return h.error }

// endsUnanswered returns the error for p, whose node has greeted and ends each time before it
// answers.
func endsUnanswered(ctx context.Context, place keyway.Place, p *nodeProcess) error {
	select { // its words have come then
	case <-p.ended:
	case <-ctx.Done():
	case <-time.After(graceOfProcess):
	}
	words := []string{p.errors.String()}
	if p.dial != nil {
		words = []string{p.dial.last.greeted(), p.dial.last.told()}
	}
	return keyway.Errorf(keyway.Other, "the node that keyway starts at %s ends before it answers, each time%s", place, quoted(string(place), words...)).
		Hint("does a start file there take its standard input away (exec </dev/null), or is there a limit that it does not live with? %s", typedAt(place, "ulimit -a"))
}

// brokeOff explains why p, whose node has greeted, does not lead to it any more.
func brokeOff(place keyway.Place, p *nodeProcess, err error) error {
	if p.dial == nil {
		return keyway.Errorf(keyway.Unreachable, "the node on this machine has ended: %s", brief(p.errors.String()))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
		err = nil // it concerns the connection, which ended after the node had started
	}
	return starter{}.diagnose(context.Background(), p, place, "", err)
}
