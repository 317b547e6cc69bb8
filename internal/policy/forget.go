package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Forget says when the agent forgets its keys without being told to. The zero
// value never does.
type Forget struct {
	Idle       time.Duration // no signature for so long; 0: any time
	Sleep      bool          // the machine goes to sleep
	ScreenLock bool          // the user's screen is locked
}

// Forget returns the triggers by which the policy has keys forgotten.
func (p *Policy) Forget() Forget {
	if p == nil {
		return Forget{}
	}
	return p.forget
}

// ParseForget reads words such as idle=30m, sleep and screen-lock. The word never
// stands alone.
func ParseForget(words []string) (Forget, error) {
	var f Forget
	if len(words) == 1 && words[0] == "never" {
		return f, nil
	}
	for _, word := range words {
		life, isIdle := strings.CutPrefix(word, "idle=")
		switch {
		case isIdle:
			d, err := ParseDuration(life)
			if err != nil {
				return Forget{}, err
			}
			f.Idle = d
		case word == "sleep":
			f.Sleep = true
		case word == "screen-lock":
			f.ScreenLock = true
		default:
			return Forget{}, fmt.Errorf("%q is not a trigger; the triggers are idle=TIME, sleep and screen-lock, or never for none", word)
		}
	}
	if f == (Forget{}) {
		return f, errors.New("no trigger is given: idle=TIME, sleep, screen-lock, or never")
	}
	return f, nil
}

// Words returns f in the form that ParseForget reads.
func (f Forget) Words() []string {
	var words []string
	if f.Idle > 0 {
		words = append(words, fmt.Sprintf("idle=%ds", f.Idle/time.Second))
	}
	if f.Sleep {
		words = append(words, "sleep")
	}
	if f.ScreenLock {
		words = append(words, "screen-lock")
	}
	if words == nil {
		words = []string{"never"}
	}
	return words
}

// maxDuration is the longest time that fits into the lifetime of a key (RFC 9987 section 3.2.7.1),
// which is longer than any user needs.
const maxDuration = 1 << 31 * time.Second

// ParseDuration reads a time as sshd_config(5) has it, TIME FORMATS: seconds, or
// numbers with s, m, h, d or w.
func ParseDuration(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	wrong := fmt.Errorf("%q is not a time; write it as 3600, 90m or 12h", s)
	var total time.Duration
	for rest := strings.ToLower(s); rest != ""; {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i < 0 {
			i, rest = len(rest), rest+"s"
		}
		n, err := strconv.ParseUint(rest[:i], 10, 31)
		unit, ok := units[rest[i]]
		if err != nil || !ok || time.Duration(n) > maxDuration/unit {
			return 0, wrong
		}
		total += time.Duration(n) * unit
		rest = rest[i+1:]
	}
	if total <= 0 || total > maxDuration {
		return 0, wrong
	}
	return total, nil
}
