//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The picture's measures, in pixels.
const (
	rowHeight = 18
	lineWidth = cols * 78 / 10
	margin    = 14
	window    = 32 // rows that are visible at once
)

// svg draws the movie. Each span is a text that is visible for its time, and the whole
// moves up as rows are added; the times are fractions of the length.
func (m *movie) svg() []byte {
	var b bytes.Buffer
	width, height := lineWidth+2*margin, window*rowHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	b.WriteString(`<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d7dae0;white-space:pre}` +
		`.b{font-weight:bold;fill:#fff}.d{fill:#8b919c}.r{fill:#f2777a}.g{fill:#7ec699}.y{fill:#ffcc66}.l{fill:#6cb6ff}.m{fill:#c792ea}.c{fill:#66cccc}</style>` + "\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#1b1e24"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<svg x="%d" y="%d" width="%d" height="%d"><g transform="translate(0 %d)">%s`+"\n",
		margin, margin, width-2*margin, window*rowHeight, -offset(m.scrolls[len(m.scrolls)-1]), m.motion())
	for y, row := range m.rows {
		for i, s := range row {
			if s.text == "" {
				continue
			}
			// A viewer without animation shows the end.
			still := "hidden"
			if i == len(row)-1 {
				still = "visible"
			}
			fmt.Fprintf(&b, `<text y="%d" visibility="%s">%s%s</text>`+"\n", y*rowHeight+rowHeight-5, still, m.visible(s.from, m.until(row, i)), styled(s.text))
		}
	}
	b.WriteString("</g></svg>\n</svg>\n")
	return b.Bytes()
}

// at returns a time as a fraction of the length.
func (m *movie) at(t time.Duration) string {
	return strconv.FormatFloat(min(1, t.Seconds()/m.length.Seconds()), 'f', 4, 64)
}

func (m *movie) animate(element, attribute, values, times string) string {
	return fmt.Sprintf(`<%s attributeName="%s" calcMode="discrete" dur="%.2fs" repeatCount="indefinite" values="%s" keyTimes="%s"/>`,
		element, attribute, m.length.Seconds(), values, times)
}

// visible shows an element between two times.
func (m *movie) visible(from, until time.Duration) string {
	values, times := []string{"hidden", "visible"}, []string{"0", m.at(from)}
	if from == 0 {
		values, times = values[1:], times[:1]
	}
	if until < m.length {
		values, times = append(values, "hidden"), append(times, m.at(until))
	}
	return m.animate("animate", "visibility", strings.Join(values, ";"), strings.Join(times, ";"))
}

// offset returns the distance by which the rows are moved up, in pixels.
func offset(s scroll) int { return max(0, s.used-window) * rowHeight }

// motion moves the rows up, so that the newest are seen.
func (m *movie) motion() string {
	values, times := []string{"0 0"}, []string{"0"}
	for _, s := range m.scrolls {
		if up := offset(s); up > 0 {
			values, times = append(values, fmt.Sprintf("0 %d", -up)), append(times, m.at(s.at))
		}
	}
	return strings.Replace(m.animate("animateTransform", "transform", strings.Join(values, ";"), strings.Join(times, ";")), " calcMode", ` type="translate" calcMode`, 1)
}

// classes are the styles of SGR that the picture has.
var classes = map[string]string{"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "34": "l", "35": "m", "36": "c",
	"91": "r", "92": "g", "93": "y", "94": "l", "95": "m", "96": "c"}

// styled returns a row's text with its styles as elements.
func styled(row string) string {
	var b strings.Builder
	class := ""
	for row != "" {
		text, rest, found := strings.Cut(row, "\x1b[")
		if text != "" {
			var escaped bytes.Buffer
			_ = xml.EscapeText(&escaped, []byte(text))
			fmt.Fprintf(&b, `<tspan class="%s">%s</tspan>`, class, escaped.String())
		}
		if !found {
			break
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			break
		}
		if rest[end] == 'm' {
			class = ""
			for _, n := range strings.Split(rest[:end], ";") {
				if c := classes[n]; c != "" {
					class = strings.TrimSpace(class + " " + c)
				}
			}
		}
		row = rest[end+1:]
	}
	return b.String()
}
