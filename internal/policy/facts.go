package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Op is the operation that an asker requests.
type Op string

// The operations. Everything but List and Sign changes the agent.
const (
	List   Op = "list"
	Sign   Op = "sign"
	Add    Op = "add"
	Remove Op = "remove"
	Lock   Op = "lock"   // and unlock
	Load   Op = "load"   // a provider library: PKCS#11 or a security key's middleware
	Manage Op = "manage" // answering questions, listing constraints
)

// Purpose is the purpose of a signature, as found in the data to be signed.
type Purpose string

// The purposes.
const (
	Login     Purpose = "login"     // SSH user authentication, RFC 4252 section 7
	Signature Purpose = "signature" // SSHSIG, with a namespace
	Data      Purpose = "data"      // anything else
	// Session is no signature: one more session, or forwarding, on a connection that
	// keyway's mux holds for programs of this machine.
	Session Purpose = "session"
)

// Host is a host by its proved key, and by the names of that key in the user's known_hosts files.
type Host struct {
	Fingerprint string   `json:"fingerprint,omitempty"` // SHA256:…
	Names       []string `json:"names,omitempty"`
	Groups      []string `json:"groups,omitempty"` // GroupWorkspaces, GroupGit
	// Place is the place of a workspace: two workspaces with the same Place belong together.
	Place string `json:"place,omitempty"`
	// Partial reports that the host has a name that is not among Names: one that is
	// hashed in known_hosts and that nothing on this machine could guess, a pattern, or one in
	// a file that was not read.
	Partial bool `json:"partial,omitempty"`
}

// nameless reports whether the host may have a name that is not among Names.
func (h Host) nameless() bool { return !h.Known() || len(h.Names) == 0 || h.Partial }

// The groups of hosts that rules may name with an @ before them.
const (
	GroupWorkspaces = "workspaces" // workspaces of this user that keyway made
	GroupGit        = "git"        // public git hosts with the host keys they publish
)

// Known reports whether there is a host at all.
func (h Host) Known() bool { return h.Fingerprint != "" }

// String names the host for people: its first name, else its key.
func (h Host) String() string {
	switch {
	case len(h.Names) > 0:
		return h.Names[0]
	case h.Known():
		return "a host with the key " + h.Fingerprint
	}
	return "an unknown host"
}

// Key is the key that is to sign.
type Key struct {
	Fingerprint string `json:"fingerprint"`
	Comment     string `json:"comment,omitempty"`
}

func (k Key) String() string {
	if k.Comment != "" {
		return k.Comment
	}
	return k.Fingerprint
}

// Constraint is the judgement by the destinations with which the user has added a key (ssh-add
// -h).
type Constraint string

// The verdicts of a key's own constraint. The empty one refuses, because it means that the
// constraint was not judged.
const (
	Unconstrained Constraint = "none"
	Permits       Constraint = "permits"
	Refuses       Constraint = "refuses"
)

// Facts is all that is known of one request.
type Facts struct {
	Op   Op
	When time.Time // local time of the user, for rules with hours

	// Remote is set for askers at the far end of a forwarded agent.
	Remote bool
	// From is the first host on the route to a remote asker: the one that the
	// user's own ssh connected to and vouched for. Hosts further on are claims
	// of the one before them, and no rule may rely on them.
	From Host
	// FromClaimed reports that no program on this machine vouches for From: the bind came through
	// the socket for forwarding, for a session that the agent signed no login for. An asker further
	// on may have made it up.
	FromClaimed bool
	// Claimed are the hosts after From. Those that are honest cannot be left out by an
	// asker behind them; those that are not may add more.
	Claimed []Host
	// Unverified are those on the route in whose session the agent has signed no login: of
	// Claimed, and From if it is claimed.
	Unverified []Host
	// Route identifies the sessions of Unverified, so that an answer about one route does
	// not hold for another; empty: none.
	Route string

	// Violation is a contradiction in the connection or the request: a bind that did not
	// verify, data for another session. Such a request is always refused.
	Violation string

	// Proven means that To is certainly the destination: its host key has signed the session of
	// the login.
	Proven bool
	To     Host

	Purpose    Purpose
	User       string // whom a login is for
	AnyUser    bool   // it is not known yet: rules that name users match, unless they deny
	Namespace  string // of an SSHSIG
	Key        Key
	Constraint Constraint
	// Programs are the program that asks for a session and those that started it, by
	// their paths; empty where one is not known.
	Programs []string
	// Restriction is the reason for which the constraint refuses; empty means that the
	// destination is not one of the key's.
	Restriction string
}

// Who describes the asker in the user's words.
func (f Facts) Who() string {
	if !f.Remote {
		return "a program on this machine"
	}
	if !f.From.Known() {
		return "somebody at the far end of a forwarded agent"
	}
	who := f.From.String()
	if f.FromClaimed {
		who += " (as the asker claims)"
	}
	for _, h := range f.Claimed {
		who += ", on behalf of " + h.String()
		if f.unverified(h) {
			who += " (as it claims)"
		}
	}
	return who
}

func (f Facts) unverified(h Host) bool {
	for _, u := range f.Unverified {
		if u.Fingerprint == h.Fingerprint {
			return true
		}
	}
	return false
}

// fromOwnWorkspace reports whether the asker is in a workspace that this laptop knows: the first
// hop is one beyond doubt, and so is every host after it. A workspace that adds hosts only loses
// permissions.
func (f Facts) fromOwnWorkspace() bool {
	if f.FromClaimed || !f.From.Known() || !slices.Contains(f.From.Groups, GroupWorkspaces) {
		return false
	}
	for _, h := range f.Claimed {
		if !slices.Contains(h.Groups, GroupWorkspaces) {
			return false
		}
	}
	return true
}

// What describes the request in the user's words.
func (f Facts) What() string {
	switch {
	case f.Op == List:
		return "list keys"
	case f.Op != Sign:
		return string(f.Op) + " keys"
	case f.Purpose == Session && f.AnyUser:
		return "have a session on " + f.destination()
	case f.Purpose == Session:
		return fmt.Sprintf("have a session on %s as %s", f.destination(), printable(f.User))
	case f.Purpose == Login && f.AnyUser:
		return "log in to " + f.destination()
	case f.Purpose == Login:
		return fmt.Sprintf("log in to %s as %s", f.destination(), printable(f.User))
	case f.Purpose == Signature && f.Namespace == "git":
		return "sign for git"
	case f.Purpose == Signature:
		return fmt.Sprintf("sign in the namespace %s", printable(f.Namespace))
	}
	return "sign data of an unknown kind"
}

func (f Facts) destination() string {
	if !f.Proven {
		return "a host it does not prove"
	}
	return f.To.String()
}

// printable returns s with everything that could disturb a terminal or forge a
// second line in a question quoted.
func printable(s string) string {
	if s == "" {
		return `""`
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r >= 0x80 {
			return fmt.Sprintf("%+q", s)
		}
	}
	return strings.ToValidUTF8(s, "?")
}
