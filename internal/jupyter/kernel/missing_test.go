package kernel

import (
	"fmt"
	"testing"

	"keyway/internal/jupyter/wire"
)

// TestPromptsAreNotMissing checks that requests for input are not taken for missing messages: they are
// numbered, and come on another channel than outputs.
func TestPromptsAreNotMissing(t *testing.T) {
	for name, c := range map[string]struct {
		stdin []int
		next  int // output
		want  int // messages that are missing before it
	}{
		"four prompts":               {[]int{8, 9, 10, 11}, 12, 0},
		"four, and three are lost":   {[]int{8, 9, 10, 11}, 15, 3},
		"a late one, and three lost": {[]int{6}, 11, 3},
		"more than there can be":     {[]int{8, 8, 8, 8}, 10, 0},
	} {
		message := func(channel string, number int) wire.Message {
			m := wire.New("kernel", []byte(`{"msg_id":"request"}`), channel, "stream", wire.Text{Name: "stdout", Text: "said\n"})
			m.Head.ID = fmt.Sprint("0d5-8f1_42_", number)
			return m
		}
		all := []wire.Message{message("iopub", 7)}
		for _, number := range c.stdin {
			all = append(all, message("stdin", number))
		}
		all = append(all, message("iopub", c.next), message("iopub", c.next+3)) // none is counted twice
		var n numbering
		told := n.tellMissing(all)
		if want := len(all) + min(c.want, 1); len(told) != want {
			t.Errorf("%s: %d messages, not %d", name, len(told), want)
		}
		if text, _ := told[len(told)-3].Stream(); c.want > 0 && text.Text != fmt.Sprintf(missingText, c.want) {
			t.Errorf("%s: told %q", name, text.Text)
		}
	}
}

// TestMissing checks which gaps in the numbers of messages prove a loss.
func TestMissing(t *testing.T) {
	const kernel, request = "0d5-8f1_42_", "request"
	for name, c := range map[string]struct {
		first, second         string // IDs
		parent, secondChannel string
		want                  uint64
	}{
		"none":                        {first: kernel + "7", second: kernel + "8"},
		"one reply to another client": {first: kernel + "7", second: kernel + "9"},
		"two":                         {first: kernel + "7", second: kernel + "10"},
		"three":                       {first: kernel + "7", second: kernel + "11", want: 3},
		"most":                        {first: kernel + "0", second: kernel + "18446744073709551615", want: 1<<64 - 2},
		"one number too large":        {first: kernel + "0", second: kernel + "18446744073709551616"},
		"backwards":                   {first: kernel + "9000", second: kernel + "7"},
		"a negative number":           {first: kernel + "-9000", second: kernel + "7"},
		"a process that was forked":   {first: kernel + "7", second: "0d5-8f1_43_9000"},
		"another kernel":              {first: kernel + "7", second: "0d5-8f2_42_9000"},
		"another request":             {first: kernel + "7", second: kernel + "9000", parent: "another"},
		"a reply":                     {first: kernel + "7", second: kernel + "9000", secondChannel: "shell"},
		"identifiers without numbers": {first: "0d5-8f1", second: "0d5-9f1"},
		"only numbers":                {first: "7", second: "9000"},
		"nothing":                     {},
	} {
		t.Run(name, func(t *testing.T) {
			message := func(id, parent, channel string) wire.Message {
				m := wire.New("kernel", fmt.Appendf(nil, `{"msg_id":%q}`, parent), channel, "stream", wire.Text{Name: "stdout", Text: "said\n"})
				m.Head.ID = id
				return m
			}
			parent, channel := request, "iopub"
			if c.parent != "" {
				parent = c.parent
			}
			if c.secondChannel != "" {
				channel = c.secondChannel
			}
			var n numbering
			batch := n.tellMissing([]wire.Message{message(c.first, request, "iopub"), message(c.second, parent, channel), message("last", parent, "iopub")})
			told := ""
			if len(batch) == 4 {
				text, _ := batch[1].Stream()
				told = text.Text
				if batch[1].Origin.ID != parent || batch[2].Head.ID != c.second {
					t.Errorf("told of %q, before %q", batch[1].Origin.ID, batch[2].Head.ID)
				}
			}
			want := ""
			if c.want > 0 {
				want = fmt.Sprintf(missingText, c.want)
			}
			if told != want || batch[len(batch)-1].Head.ID != "last" {
				t.Errorf("%d messages; told %q, not %q", len(batch), told, want)
			}
		})
	}
}
