package link

import (
	"slices"
	"strings"

	"keyway/internal/lazyregexp"
)

// fault is an error that an ssh has reported.
type fault int

const (
	noFault       fault = iota
	unresolved          // the host has no address
	resolverDown        // no resolver answered
	unconnected         // no connection to it
	silent              // no answer from it within the time for connecting
	unidentified        // it closed the connection before it had sent its version
	dropped             // it closed the connection before the login
	broken              // the connection broke afterwards
	keyChanged          // its key differs from the known one
	keyUnknown          // its key is unknown and was not accepted
	refused             // no key was accepted
	dismissed           // it ended the connection, with a message of its own
	notThrough          // it cannot connect to the next host
	mayNotThrough       // it does not allow forwarding to the next host
	noCommon            // no common algorithm
	badConfig           // ssh cannot read its configuration
	unexplained         // another error, in ssh's words
)

// sshState is the state that an ssh has reported so far.
type sshState struct {
	authenticated bool
	fault         fault
	host, detail  string // in ssh's words
	said          string // in the host's words
	shown         string // fingerprint of a key that differs from the known one
	file, line    string // position of the known one
	name          string // of the host in that file
	unsigned      string // the key that was not used for the login, and why, in ssh's words; empty: each asked for has signed
	signing       bool   // a signature was asked for
}

// step is the progress of an ssh.
type step int

const (
	begun      step = iota
	identified      // the host has sent its version
	proved          // it has proved its host key: the login begins
	signing         // ssh has asked the agent for a signature, and perhaps sent it to the host
	entered         // the login has succeeded
)

// The lines that report steps: three that LogVerbose adds (see newerHopOptions), and one of LogLevel
// VERBOSE.
const (
	lineIdentified = "debug1: compat.c:compat_banner():"
	lineProved     = "debug1: sshconnect2.c:input_userauth_service_accept():"
	lineSigning    = "debug3: sshconnect2.c:sign_and_send_pubkey():"
	lineEntered    = "Authenticated to "
)

// stepOf returns the progress of an ssh that has written these lines.
func stepOf(lines []string) step {
	at := begun
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, lineEntered):
			return entered
		case strings.HasPrefix(l, lineProved):
			at = proved
		case strings.HasPrefix(l, lineSigning):
			at = signing
		case at == signing: // it has ended
			at = proved
		case strings.HasPrefix(l, lineIdentified):
			at = max(at, identified)
		}
	}
	return at
}

// tellsSteps reports whether an ssh that has logged in reported the steps before.
func tellsSteps(lines []string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, lineIdentified) })
}

// ssh's messages have been stable since 2001. Each is matched only where ssh writes it: the last
// line decides, which is that of the fatal error. Some lines contain words of the host (a reason
// for disconnecting, a prompt), which may contain ends of lines. Such a line belongs to the host
// from there on, with all lines after it. So a host's messages can at most change the fault into
// one of the host's own.
var (
	reUnresolved   = lazyregexp.New(`^\S+: Could not resolve hostname (\S*): (.*)$`)
	reUnconnected  = lazyregexp.New(`^ssh: connect to (?:host|address) (\S+) port (\d+): (.*)$`)
	reRefused      = lazyregexp.New(`^(?:\S+@)?\S+: Permission denied \(([a-z0-9@.,-]*)\)\.$`)
	reDismissed    = lazyregexp.New(`^Received disconnect from \S+ port \d+:\d+: (.*)$`)
	reChannel      = lazyregexp.New(`^channel \d+: open failed: (administratively prohibited|connect failed|unknown channel type|resource shortage)(?:: (.*))?$`)
	reNoCommon     = lazyregexp.New(`^Unable to negotiate with \S+(?: port \d+)?: (no matching [a-z ]{1,40} found)?(.*)$`)
	reOffending    = lazyregexp.New(`^Offending \S+ key in (.*):(\d+)$`)
	reChanged      = lazyregexp.New(`^Host key for (\S+) has changed and you have requested strict checking\.$`)
	reFingerprint  = lazyregexp.New(`^(SHA256:[A-Za-z0-9+/]+)\.$`)
	reBadConfig    = lazyregexp.New(`^\S.* line \d+: |^\S+: terminating, \d+ bad configuration options|^command-line(:| line)`)
	reDropped      = lazyregexp.New(`^(kex_exchange_identification|ssh_exchange_identification|banner exchange|kex_protocol_error)\b|^Connection (closed|reset) by |^Connection to \S+ port \d+ timed out|^Connection timed out during banner exchange|^ssh_dispatch_run_fatal: `)
	reSilent       = lazyregexp.New(`^Connection timed out during banner exchange|^Connection to \S+ port \d+ timed out`)
	reUnidentified = lazyregexp.New(`^(kex|ssh)_exchange_identification: (read: )?Connection (closed|reset) by `)
	reUnsigned     = lazyregexp.New(`^(?:sshconnect2\.c:sign_and_send_pubkey\(\):\d+ \(pid=\d+\)|sign_and_send_pubkey): signing failed for (\S+ ".*")(?: from agent)?: (.+)$`)
	reBroken       = lazyregexp.New(`^(client_loop|Read from remote host|Write failed|packet_write_wait|Timeout, server)\b`)
)

// afterthoughts are lines that may follow a fault, or have nothing to do with one.
var afterthoughts = []string{
	"Killed by signal", "Transferred: ", "Bytes per second: ", "Disconnected from ", lineEntered, "Warning: ", "mm_", "Connection to ", "debug",
}

const (
	keyFailure   = "Host key verification failed."
	keyIsChanged = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @"
	stdioFailure = "stdio forwarding failed"
	timedOut     = "Connection timed out" // ETIMEDOUT, also in other hosts' messages
)

// readState interprets the lines that an ssh itself has written.
func readState(lines []string) sshState {
	s := sshState{authenticated: stepOf(lines) == entered}
	for i, l := range lines {
		if m := reNoCommon.FindStringSubmatch(l); m != nil {
			s.fault, s.detail, s.said = noCommon, strings.TrimSpace(m[1]), m[2]
			return s
		}
		s.signing = s.signing || strings.HasPrefix(l, lineSigning)
		if m := reUnsigned.FindStringSubmatch(l); m != nil {
			s.unsigned = m[1] + ": " + m[2]
		}
		if m := reDismissed.FindStringSubmatch(l); m != nil {
			s.fault, s.said = dismissed, strings.TrimSuffix(m[1], " [preauth]")
			return s
		}
		if m := reChannel.FindStringSubmatch(l); m != nil && s.authenticated && lines[len(lines)-1] != l && slices.Contains(lines[i:], stdioFailure) {
			s.fault, s.detail, s.said = notThrough, m[1], m[2]
			if m[1] == "administratively prohibited" {
				s.fault = mayNotThrough
			}
			return s
		}
	}
	s.readLast(lines)
	return s
}

// readLast interprets the last line about a fault.
func (s *sshState) readLast(lines []string) {
	last := ""
	for _, l := range slices.Backward(lines) {
		if !slices.ContainsFunc(afterthoughts, func(a string) bool { return strings.HasPrefix(l, a) && !reDropped.MatchString(l) }) {
			last = l
			break
		}
	}
	match := func(re *lazyregexp.Regexp) []string { return re.FindStringSubmatch(last) }
	switch {
	case last == "":
	case last == keyFailure:
		s.readHostKey(lines)
	case match(reUnresolved) != nil:
		m := match(reUnresolved)
		s.fault, s.host, s.detail = unresolved, m[1], m[2]
		if strings.HasPrefix(m[2], "Temporary failure") { // EAI_AGAIN
			s.fault = resolverDown
		}
	case match(reUnconnected) != nil:
		m := match(reUnconnected)
		s.fault, s.host, s.detail = unconnected, m[1], m[3]
		switch i := slices.Index(lines, last); {
		case m[3] == timedOut:
			s.fault = silent
		case m[3] == "failure" && i > 0: // of a step before, such as a BindAddress
			s.detail = lines[i-1]
		}
	case match(reRefused) != nil:
		s.fault, s.detail = refused, match(reRefused)[1]
	case reBadConfig.MatchString(last):
		s.fault, s.detail = badConfig, last
		if i := slices.IndexFunc(lines, reBadConfig.MatchString); i >= 0 {
			s.detail = lines[i] // the first is the line itself, and the last only counts
		}
	case reSilent.MatchString(last) && !s.authenticated:
		s.fault = silent
	case reDropped.MatchString(last) && !s.authenticated && slices.ContainsFunc(lines, reUnidentified.MatchString):
		s.fault, s.detail = unidentified, last // of which two lines tell
	case reDropped.MatchString(last) && !s.authenticated:
		s.fault, s.detail = dropped, last
	case reDropped.MatchString(last) || reBroken.MatchString(last):
		s.fault, s.detail = broken, last
	default:
		s.fault, s.detail = unexplained, last
	}
}

// readHostKey interprets ssh's message about a host key that it did not accept. The host has sent
// nothing before that which ssh would repeat.
func (s *sshState) readHostKey(lines []string) {
	s.fault = keyUnknown
	for _, l := range lines {
		switch {
		case l == keyIsChanged:
			s.fault = keyChanged
		case reOffending.MatchString(l) && s.file == "":
			m := reOffending.FindStringSubmatch(l)
			s.file, s.line = m[1], m[2]
		case reFingerprint.MatchString(l):
			s.shown = reFingerprint.FindStringSubmatch(l)[1]
		case reChanged.MatchString(l):
			s.name = reChanged.FindStringSubmatch(l)[1]
		}
	}
}
