// Package audit keeps a log in which later changes can be detected: JSON lines, each with the
// SHA-256 of the exact bytes of the line before it. Lines are only ever appended. A user that can
// write to the file can also write a whole new chain, so the log proves most to a reader that has a
// copy of its last line.
//
// Begin with Event, which is a line, and Log, which writes them. Verify checks a log.
// docs/PROTOCOL.agent.md has the format.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// Bounds.
const (
	maxField = 512       // bytes of one text, which an asker may have chosen
	maxLine  = 128 << 10 // bytes of one line
	maxFile  = 8 << 20   // bytes of a file before it is rotated
	maxFiles = 16        // rotated files that are kept
)

// Verdict is the result of a request.
type Verdict string

// The verdicts.
const (
	Allowed Verdict = "allowed"
	Denied  Verdict = "denied"
	Failed  Verdict = "failed" // it was allowed, and came to nothing
)

// Kind is the subject of an event.
type Kind string

// The kinds of events. Logs are kept, so kinds are only ever added to.
const (
	Start     Kind = "start"    // an agent begins
	Renew     Kind = "renew"    // an agent continues as another program
	Policy    Kind = "policy"   // another policy is in force
	Connect   Kind = "connect"  // a client asks to watch questions
	Bind      Kind = "bind"     // a host's proof of itself
	Manage    Kind = "manage"   // an order that is keyway's own
	Offer     Kind = "offer"    // keys are listed, and none is of use
	Sign      Kind = "sign"     // a signature
	Session   Kind = "session"  // a session on a connection that is held ready
	Add       Kind = "add"      // a key comes
	Remove    Kind = "remove"   // a key goes
	Lock      Kind = "lock"     // the agent is locked by a password, or unlocked
	Load      Kind = "load"     // a library of keys comes or goes
	Forget    Kind = "forget"   // when keys are forgotten
	Lifetime  Kind = "lifetime" // of a key, made shorter
	Answer    Kind = "answer"   // a client answers questions
	Renewal   Kind = "certificate"
	Upstream  Kind = "upstream"  // another agent whose keys are used
	Watch     Kind = "watch"     // of the machine's sleep and screen
	Rotate    Kind = "rotate"    // the log continues in another file
	Rotated   Kind = "rotated"   // what earlier files had of uses
	Unwritten Kind = "unwritten" // how many events could not be written before, as on a full disk
	Repaired  Kind = "repaired"  // the line before was not written to its end
)

// Event is one line of the log. Besides the fields of every role, it has the agent's facts about a
// request. Texts longer than maxField are cut.
type Event struct {
	Seq  uint64    `json:"seq"`
	Prev string    `json:"prev"` // SHA-256 of the line before, newline included
	Time time.Time `json:"time"`

	Event   Kind    `json:"event"`
	Verdict Verdict `json:"verdict,omitempty"`
	Rule    string  `json:"rule,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	// More is the number of similar refusals that the event counts, besides those with events
	// of their own; 0 means that it is a refusal itself.
	More uint64 `json:"more,omitempty"`
	// Unwritten is the number of events without a line, in the event Unwritten.
	Unwritten uint64 `json:"unwritten,omitempty"`

	Request

	Rotation *Rotation `json:"rotation,omitempty"` // of the event Rotated
}

// Request is the agent's own part of an event: the asker, the key and the purpose. In a line, its
// fields stand beside those of the event.
type Request struct {
	Key        string `json:"key,omitempty"` // fingerprint
	Comment    string `json:"comment,omitempty"`
	Purpose    string `json:"purpose,omitempty"`
	User       string `json:"user,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	To         string `json:"to,omitempty"`    // a name of the destination
	ToKey      string `json:"toKey,omitempty"` // its host key's fingerprint
	From       string `json:"from,omitempty"`  // a name of the first hop
	FromKey    string `json:"fromKey,omitempty"`
	Via        string `json:"via,omitempty"`      // hops after the first, as they claim
	Upstream   string `json:"upstream,omitempty"` // the socket of the agent that holds the key, if it is another
	Remote     bool   `json:"remote,omitempty"`
	Connection uint64 `json:"connection,omitempty"`
	PID        int    `json:"pid,omitempty"` // of the local program that asked
	UID        int    `json:"uid,omitempty"`
	Program    string `json:"program,omitempty"`
}

// texts returns the texts of a request, which its asker may have chosen.
func (r *Request) texts() [12]*string {
	return [...]*string{
		&r.Key, &r.Comment, &r.Purpose, &r.User, &r.Namespace, &r.To, &r.ToKey, &r.From, &r.FromKey, &r.Via, &r.Upstream, &r.Program,
	}
}

// encode writes the line for e. It cuts e's texts.
func (e *Event) encode(to io.Writer) error {
	e.Rule, e.Reason = cut(e.Rule), cut(e.Reason)
	for _, s := range e.texts() {
		*s = cut(*s)
	}
	return json.NewEncoder(to).Encode(e)
}

func cut(s string) string {
	if len(s) <= maxField {
		return s
	}
	end := maxField
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:end], len(s))
}
