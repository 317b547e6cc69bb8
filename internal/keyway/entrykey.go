package keyway

import (
	"slices"
	"strings"
	"time"
)

// EntryKey is a public key that may enter a workspace for some time.
type EntryKey struct {
	// Line is the key in authorized_keys form, without options.
	Line string `json:"line"`
	// Until is the time from which on it may not enter any more.
	Until time.Time `json:"until"`
}

// MaxEntry bounds the time for which a sent key may enter before it must be sent again. So a key
// that a laptop no longer holds expires by itself.
const MaxEntry = 30 * 24 * time.Hour

// maxSentKeys bounds how many keys are kept that were sent, the newest first.
const maxSentKeys = 64

// ExpiryForm is the value of the option expiry-time of sshd(8), in UTC.
const ExpiryForm = "20060102150405Z"

// isKeyType reports whether word is the name of a key type (RFC 4253 and OpenSSH's),
// which no option is.
func isKeyType(word string) bool {
	bare := strings.TrimPrefix(word, "sk-")
	return (strings.HasPrefix(bare, "ssh-") || strings.HasPrefix(bare, "ecdsa-")) &&
		strings.Trim(bare, "abcdefghijklmnopqrstuvwxyz0123456789@.-") == ""
}

// ValidateKeys refuses keys that do not fit into an authorized_keys file, a line each.
func ValidateKeys(keys []EntryKey) error {
	var a Access
	for _, k := range keys {
		a.AuthorizedKeys = append(a.AuthorizedKeys, k.Line)
		if words := strings.Fields(k.Line); len(words) < 2 || !isKeyType(words[0]) || !strings.HasPrefix(k.Line, words[0]) {
			return Errorf(Usage, "a public key that is sent has a type and no options")
		}
	}
	if len(keys) > maxSentKeys {
		return Errorf(Usage, "at most %d public keys can be sent to a workspace", maxSentKeys).Advise(NameKeys)
	}
	return a.validate()
}

// MergeKeys adds fresh keys to those that were sent before: each once, with its new
// end, which is at most MaxEntry away. Those whose time is over go, and the oldest
// of too many.
func MergeKeys(sent, fresh []EntryKey, now time.Time) []EntryKey {
	var merged []EntryKey
	for i, k := range slices.Concat(fresh, sent) {
		if latest := now.Add(MaxEntry); i < len(fresh) && (k.Until.IsZero() || k.Until.After(latest)) {
			k.Until = latest
		}
		k.Until = k.Until.UTC().Truncate(time.Second)
		known := slices.ContainsFunc(merged, func(m EntryKey) bool { return sameBlob(m.Line, k.Line) })
		if !known && k.Until.After(now) && len(merged) < maxSentKeys {
			merged = append(merged, k)
		}
	}
	return merged
}

// KeysFile returns the authorized_keys file in which made, which have no end, and
// sent may enter.
func KeysFile(made []string, sent []EntryKey) []byte {
	var b strings.Builder
	for _, line := range made {
		b.WriteString(line + "\n")
	}
	for _, k := range sent {
		if !slices.ContainsFunc(made, func(line string) bool { return sameBlob(line, k.Line) }) {
			b.WriteString(`expiry-time="` + k.Until.Format(ExpiryForm) + `" ` + k.Line + "\n")
		}
	}
	return []byte(b.String())
}

// sameBlob reports whether two lines have the same key, whatever their comments.
func sameBlob(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) > 1 && len(y) > 1 && x[0] == y[0] && x[1] == y[1]
}
