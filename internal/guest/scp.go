//go:build linux

package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// The protocol of scp -t and scp -f comes from BSD's rcp and has no standard. One side is
// the source, the other the sink. Each message is answered with a byte before the next is
// sent.
//
//	source → sink   C<mode> <size> <name>\n  then size bytes, then \0
//	                D<mode> 0 <name>\n       a directory begins
//	                E\n                      it ends
//	                T<mtime> 0 <atime> 0\n   times of the C or D that follows
//	either → other  \0                       go on
//	                \1<text>\n               this did not work, go on
//	                \2<text>\n               this did not work, the end

// Bounds on messages from the other side.
const (
	maxSCPLine  = 8 << 10 // PATH_MAX and the rest of a C line
	maxSCPDepth = 128     // directories within directories
)

// scpOptions are the flags of the remote half of scp.
type scpOptions struct {
	sink      bool // -t
	source    bool // -f
	recursive bool // -r
	times     bool // -p
	directory bool // -d: the target must be a directory
	paths     []string
}

// parseSCP parses the arguments of scp.
func parseSCP(args []string) (scpOptions, error) {
	var o scpOptions
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		for _, flag := range word[1:] {
			if !o.set(flag) {
				return o, fmt.Errorf("-%c is not an option here", flag)
			}
		}
	}
	o.paths = args
	switch {
	case o.sink == o.source:
		return o, errors.New("this is the remote half of scp: it needs -t or -f")
	case o.sink && len(o.paths) != 1:
		return o, errors.New("one target is needed")
	case len(o.paths) == 0:
		return o, errors.New("nothing to send")
	}
	return o, nil
}

func (o *scpOptions) set(flag rune) bool {
	switch flag {
	case 't':
		o.sink = true
	case 'f':
		o.source = true
	case 'r':
		o.recursive = true
	case 'p':
		o.times = true
	case 'd':
		o.directory = true
	case 'v', 'q': // affect only the messages of the client
	default:
		return false
	}
	return true
}

// scpMain is scp for images that have none. It is the remote side of scp -O.
func scpMain(args []string, in io.Reader, out, news io.Writer) int {
	o, err := parseSCP(args)
	if err != nil {
		fmt.Fprintf(news, "scp: %v\n", err)
		return keyway.ExitCode(keyway.Errorf(keyway.Usage, "%w", err))
	}
	p := &scpPeer{in: bufio.NewReaderSize(in, copySize), out: out, news: news}
	if o.sink {
		err = (&scpSink{scpPeer: p, options: o, umask: currentUmask()}).run()
	} else {
		err = (&scpSource{scpPeer: p, options: o}).run()
	}
	if err != nil {
		fmt.Fprintf(news, "scp: %v\n", err)
	}
	if err != nil || p.failed {
		return 1
	}
	return 0
}

// scpPeer is the conversation with the other side.
type scpPeer struct {
	in     *bufio.Reader
	out    io.Writer
	news   io.Writer // where people read
	failed bool      // something did not work, here or there
}

// ok tells the other side to continue.
func (p *scpPeer) ok() error {
	_, err := p.out.Write([]byte{0})
	return err
}

// complain reports to the other side that something failed; the other side prints it.
func (p *scpPeer) complain(problem error) error {
	p.failed = true
	text := strings.ReplaceAll("scp: "+problem.Error(), "\n", " ")
	_, err := io.WriteString(p.out, "\x01"+text+"\n")
	return err
}

// answer reads the other side's answer. It reports false if the other side could not do
// what was asked.
func (p *scpPeer) answer() (bool, error) {
	c, err := p.in.ReadByte()
	if err != nil {
		return false, fmt.Errorf("the connection ended: %w", err)
	}
	switch c {
	case 0:
		return true, nil
	case 1, 2:
		return false, p.complaint(c)
	}
	return false, fmt.Errorf("unexpected answer %#x", c)
}

// complaint reads the text of a \1 or \2. After \2 nothing follows.
func (p *scpPeer) complaint(c byte) error {
	text, err := p.line()
	if err != nil {
		return err
	}
	p.failed = true
	if c == 2 {
		return errors.New(text)
	}
	// The other side has told its user already.
	return nil
}

// line reads a line and returns it without its end.
func (p *scpPeer) line() (string, error) {
	var b strings.Builder
	for {
		c, err := p.in.ReadByte()
		switch {
		case err != nil:
			return "", fmt.Errorf("the connection ended within a message: %w", err)
		case c == '\n':
			return b.String(), nil
		case b.Len() >= maxSCPLine:
			return "", fmt.Errorf("a message is longer than %d bytes", maxSCPLine)
		}
		b.WriteByte(c)
	}
}

// scpEntry is a C or D message.
type scpEntry struct {
	dir  bool
	mode os.FileMode
	size int64
	name string
}

// parseSCPEntry parses a C or D line. The name must be a single name: with a path, the
// other side could write outside the directory that it was given.
func parseSCPEntry(line string) (scpEntry, error) {
	kind, rest := line[:1], line[1:]
	fields := strings.SplitN(rest, " ", 3)
	if len(fields) != 3 || len(fields[0]) != 4 {
		return scpEntry{}, fmt.Errorf("malformed message %q", line)
	}
	mode, err := strconv.ParseUint(fields[0], 8, 12)
	if err != nil {
		return scpEntry{}, fmt.Errorf("malformed mode in %q", line)
	}
	size, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || size < 0 || fields[1][0] == '+' || fields[1] == "-0" {
		return scpEntry{}, fmt.Errorf("malformed size in %q", line)
	}
	name := fields[2]
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return scpEntry{}, fmt.Errorf("%q is not a file name", name)
	}
	return scpEntry{dir: kind == "D", mode: fileMode(uint32(mode)), size: size, name: name}, nil
}

// scpTimes is a T message.
type scpTimes struct{ modified, accessed int64 } // seconds since 1970

func parseSCPTimes(line string) (scpTimes, error) {
	fields := strings.Split(line[1:], " ")
	if len(fields) != 4 {
		return scpTimes{}, fmt.Errorf("malformed times %q", line)
	}
	var numbers [4]int64
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 10, 62)
		if err != nil {
			return scpTimes{}, fmt.Errorf("malformed times %q", line)
		}
		numbers[i] = int64(n)
	}
	return scpTimes{modified: numbers[0], accessed: numbers[2]}, nil
}

// fileMode converts a mode of chmod(2) to Go's.
func fileMode(bits uint32) os.FileMode {
	mode := os.FileMode(bits & 0o777)
	for bit, flag := range modeBits {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// chmodBits converts Go's mode to that of chmod(2).
func chmodBits(mode os.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for bit, flag := range modeBits {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

var modeBits = map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky}
