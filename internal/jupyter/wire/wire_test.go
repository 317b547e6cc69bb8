package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"keyway/test/await"
)

func sample(buffers ...[]byte) Message {
	m := New("kernel", []byte(`{"msg_id":"req","session":"page","msg_type":"execute_request"}`), "iopub", "stream", Text{"stdout", "päth <b> & \u2028\n"})
	m.Buffers = buffers
	return m
}

func TestBothWays(t *testing.T) {
	for _, m := range []Message{sample(), sample([]byte{0, 255}, nil, []byte("x"))} {
		for _, p := range []Protocol{JSON, V1} {
			data, isBinary := m.Encode(p)
			got, err := Decode(p, isBinary, data)
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, m) {
				t.Errorf("protocol %d: %+v became %+v", p, m, got)
			}
		}
	}
}

func same(a, b Message) bool {
	eq := a.Channel == b.Channel && a.Head == b.Head && a.Origin == b.Origin && len(a.Buffers) == len(b.Buffers) &&
		bytes.Equal(a.Header, b.Header) && bytes.Equal(a.Parent, b.Parent) && bytes.Equal(a.Metadata, b.Metadata) && bytes.Equal(a.Content, b.Content)
	for i := range a.Buffers {
		eq = eq && bytes.Equal(a.Buffers[i], b.Buffers[i])
	}
	return eq
}

// TestV1Layout checks the layout by an example that was written by hand after jupyter_server's
// documentation.
func TestV1Layout(t *testing.T) {
	parts := []string{"iopub", `{"msg_id":"a","msg_type":"status"}`, `{}`, `{}`, `{"execution_state":"busy"}`, "buf"}
	var head, body []byte
	at := uint64(8 * (len(parts) + 2))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(parts)+1))
	head = binary.LittleEndian.AppendUint64(head, at)
	for _, p := range parts {
		at += uint64(len(p))
		head = binary.LittleEndian.AppendUint64(head, at)
		body = append(body, p...)
	}
	m, err := Decode(V1, true, append(head, body...))
	if err != nil {
		t.Fatal(err)
	}
	if m.State() != "busy" || len(m.Buffers) != 1 || string(m.Buffers[0]) != "buf" || m.Head.ID != "a" {
		t.Errorf("got %+v", m)
	}
	if data, _ := m.Encode(V1); !bytes.Equal(data, append(head, body...)) {
		t.Error("written differently")
	}
}

func TestRefused(t *testing.T) {
	u64 := func(n ...uint64) (b []byte) {
		for _, x := range n {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
		return b
	}
	u32 := func(n ...uint32) (b []byte) {
		for _, x := range n {
			b = binary.BigEndian.AppendUint32(b, x)
		}
		return b
	}
	good := `{"header":{"msg_id":"a","msg_type":"b"},"channel":"iopub"}`
	if _, err := Decode(JSON, false, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p      Protocol
		binary bool
		data   []byte
	}{
		"empty":              {V1, true, nil},
		"short":              {V1, true, u64(6)},
		"huge count":         {V1, true, u64(1<<63, 1, 2)},
		"count that wraps":   {V1, true, u64(1<<61, 1, 2)},
		"offset behind":      {V1, true, u64(6, 56, 57, 58, 59, 60, 1000)},
		"offset falls":       {V1, true, append(u64(6, 56, 58, 57, 58, 59, 60), "abcdefgh"...)},
		"offset into count":  {V1, true, u64(6, 0, 8, 16, 24, 32, 40)},
		"no text":            {JSON, true, nil},
		"text offset behind": {JSON, true, u32(1, 900)},
		"no offsets":         {JSON, true, u32(0)},
		"many buffers":       {JSON, true, u32(1 << 30)},
		"no JSON":            {JSON, false, []byte("nonsense")},
		"other channel":      {JSON, false, []byte(strings.Replace(good, "iopub", "secret", 1))},
		"no id":              {JSON, false, []byte(`{"header":{"msg_type":"b"}}`)},
		"header is a list":   {JSON, false, []byte(`{"header":[1]}`)},
		"content is text":    {JSON, false, []byte(`{"header":{"msg_id":"a","msg_type":"b"},"content":"x"}`)},
		"long id":            {JSON, false, []byte(`{"header":{"msg_id":"` + strings.Repeat("a", 1000) + `","msg_type":"b"}}`)},
		"too large":          {JSON, false, make([]byte, MaxMessage+1)},
	} {
		if _, err := Decode(c.p, c.binary, c.data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestTextIsUTF8 checks that text is UTF-8: other bytes in a text frame would end a websocket.
func TestTextIsUTF8(t *testing.T) {
	m := sample()
	m.Content = []byte("{\"text\":\"a\xffb\"}")
	data, _ := m.Encode(V1)
	m, err := Decode(V1, true, data)
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := m.Stream(); !ok || text.Text != "a\uFFFDb" {
		t.Errorf("got %q", text.Text)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range []Protocol{JSON, V1} {
		for _, m := range []Message{sample(), sample([]byte("one"), []byte("two"))} {
			data, isBinary := m.Encode(p)
			f.Add(int(p), isBinary, data)
		}
	}
	f.Fuzz(func(t *testing.T, p int, isBinary bool, data []byte) {
		m, err := Decode(Protocol(p&1), isBinary, data)
		if err != nil {
			return
		}
		for _, p := range []Protocol{JSON, V1} {
			data, isBinary := m.Encode(p)
			again, err := Decode(p, isBinary, data)
			if err != nil {
				t.Fatalf("protocol %d: %v", p, err)
			}
			if !same(m, again) {
				t.Fatalf("protocol %d: %+v became %+v", p, m, again)
			}
		}
	})
}

// TestATextThatDoesNotEnd checks that the time for a message is in proportion to its size, also for a
// text that is cut off: each quote in it might begin another.
func TestATextThatDoesNotEnd(t *testing.T) {
	data := []byte(`{"x":"` + strings.Repeat(`\"`, 2<<20))
	done := make(chan []byte, 1)
	go func() { done <- withoutNaN(data) }()
	select {
	case got := <-done:
		if isObject(got) {
			t.Error("it is an object")
		}
	case <-time.After(await.Patience):
		t.Error("it takes more than a minute")
	}
}

// TestNotQuiteJSON checks messages that languages other than JavaScript write: numbers that JSON does
// not have, lists for empty objects, and content that is no JSON at all. The headers of the last
// are still read.
func TestNotQuiteJSON(t *testing.T) {
	const header, parent = `{"msg_id":"a","msg_type":"display_data","session":"k"}`, `{"msg_id":"req"}`
	for _, c := range []struct{ content, metadata, want string }{
		{`{"x":NaN}`, `{}`, `{"x":null}`},
		{`{"x":[Infinity, -Infinity,NaN,-1]}`, `{}`, `{"x":[null, null,null,-1]}`},
		{`{"NaN":"NaN, -Infinity \"NaN","x":NaN}`, `{}`, `{"NaN":"NaN, -Infinity \"NaN","x":null}`},
		{`{"x":1}`, `{"NaN":NaN}`, `{"x":1}`},
		{`[]`, ` [] `, `{}`},
		{`{"x":nan}`, `{}`, ""},
		{`{"x":NaNa}`, `{}`, ""},
		{`{"x":"NaN}`, `{}`, ""},
		{`{"x":"\NaN"}`, `{}`, ""},
		{`{"x":1}`, `[NaN]`, ""},
		{`[1]`, `{}`, ""},
		{`"x"`, `{}`, ""},
		{"{\"x\":\"\n\"}", `{}`, ""},
	} {
		data, _ := Message{Channel: "iopub", Header: []byte(header), Parent: []byte(parent), Metadata: []byte(c.metadata), Content: []byte(c.content)}.Encode(V1)
		m, err := Decode(V1, true, data)
		if m.Head != (Head{"a", "k", "display_data"}) || m.Origin.ID != "req" {
			t.Fatalf("%s: the headers are %+v and %+v: %v", c.content, m.Head, m.Origin, err)
		}
		if c.want == "" {
			if !errors.Is(err, ErrContent) || string(m.Content) != "{}" || string(m.Metadata) != "{}" {
				t.Errorf("%s with %s became %s with %s: %v", c.content, c.metadata, m.Content, m.Metadata, err)
			}
			continue
		}
		again, _ := m.Encode(V1)
		if second, err2 := Decode(V1, true, again); err != nil || err2 != nil || string(second.Content) != c.want {
			t.Errorf("%s became %s, not %s: %v, %v", c.content, second.Content, c.want, err, err2)
		}
		text, err := Decode(JSON, false, []byte(`{"channel":"iopub","header":`+header+`,"parent_header":`+parent+`,"metadata":`+c.metadata+`,"content":`+c.content+`}`))
		if err != nil || string(text.Content) != c.want {
			t.Errorf("as text, %s became %s, not %s: %v", c.content, text.Content, c.want, err)
		}
	}
}
