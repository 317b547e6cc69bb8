package screen

import (
	"bytes"
	"fmt"
	"testing"
)

// The output that jobs print most: lines of text, lines with colours, progress bars.

func plainOutput() []byte {
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, "%08d step %d: loss 0.%04d, learning rate 0.0003, 1234 tokens a second, all of it as it should be\r\n", i, i*7, i%10000)
	}
	return b.Bytes()
}

func colouredOutput() []byte {
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, "\x1b[2m%08d\x1b[0m \x1b[1;32mINFO\x1b[0m \x1b[36mtrain.py\x1b[0m:\x1b[38;5;%dm%d\x1b[0m loss=\x1b[33m0.%04d\x1b[0m and \x1b[4msome\x1b[24m more text\r\n",
			i, i%256, i%300, i%10000)
	}
	return b.Bytes()
}

func progressOutput() []byte {
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, "\rtrain: %3d%%|%-40s| %d/2000 [00:%02d<00:%02d, 123.45it/s]", i/20, bytes.Repeat([]byte("█"), i/50), i, i%60, 59-i%60)
	}
	return b.Bytes()
}

func BenchmarkWrite(b *testing.B) {
	for name, data := range map[string][]byte{"plain": plainOutput(), "coloured": colouredOutput(), "progress": progressOutput()} {
		b.Run(name, func(b *testing.B) {
			s := New(100, 30, Options{})
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				for rest := data; len(rest) > 0; {
					n := min(4096, len(rest))
					s.Write(rest[:n])
					rest = rest[n:]
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := New(100, 30, Options{})
	s.Write(colouredOutput())
	var dst []byte
	for b.Loop() {
		dst = s.Snapshot(dst[:0])
	}
}
