// Package audit keeps a log that shows afterwards whether somebody changed it:
// JSON lines, each with the SHA-256 of the exact bytes of the line before it.
// Lines are only ever added. Whoever can write the file can also write a whole
// new chain, so the log proves most to those who keep a copy of its last line.
package audit

import (
	"encoding/json"
	"fmt"
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

// The verdicts.
const (
	Allowed = "allowed"
	Denied  = "denied"
	Failed  = "failed" // it was allowed, and came to nothing
)

// Event is one line. Texts longer than maxField are cut.
type Event struct {
	Seq  uint64    `json:"seq"`
	Prev string    `json:"prev"` // SHA-256 of the line before, newline included
	Time time.Time `json:"time"`

	Event   string `json:"event"`             // sign, add, remove, lock, bind, start, …
	Verdict string `json:"verdict,omitempty"` // allowed, denied, failed
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// More is how many refusals like this one the event stands for, beside those that
	// have events of their own; 0: it is one itself.
	More uint64 `json:"more,omitempty"`

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

	Rotation *Rotation `json:"rotation,omitempty"` // of the event rotated
}

// encode is the line for e.
func (e Event) encode() ([]byte, error) {
	for _, s := range []*string{
		&e.Event, &e.Verdict, &e.Rule, &e.Reason, &e.Key, &e.Comment, &e.Purpose, &e.User, &e.Namespace,
		&e.To, &e.ToKey, &e.From, &e.FromKey, &e.Via, &e.Upstream, &e.Program,
	} {
		*s = cut(*s)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return append(line, '\n'), nil
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
