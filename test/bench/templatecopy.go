//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"keyway/test/lab"
)

// copiedImage has a layer of random bytes, which nothing can compress.
const copiedImage = "keyway-bench/copied:1"

// copies compares keyway image copy with scp of the same bytes, over both lines.
func (w *templateBench) copies(ctx context.Context) error {
	if err := w.makeCopied(); err != nil {
		return err
	}
	fmt.Fprintf(&w.notes, "\n`keyway image copy` of an image with a layer of %d MiB, to a file of the laptop and back, beside `scp` of the file through the bastion, without the time that connecting takes; the median of %d.\n"+
		"\n| line | `docker save` over `ssh` | `scp` from there | `image copy` from there | `scp` to there | `image copy` to there |\n|---|--:|--:|--:|--:|--:|\n", copiedMiB, w.bulk)
	alone, err := w.daemonAlone()
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err := w.over(l, func() error { return w.copyOver(ctx, l, alone) }); err != nil {
			return err
		}
	}
	fmt.Fprintf(&w.notes, "\nOn the GPU machine itself, without any line, `docker save` writes the first byte after %.2f s and the last one after %.2f s, and `docker load` ends %.2f s after it has the last byte: "+
		"the classic image store writes the whole image to a disk before it sends the first byte, and unpacks an image only after its last byte.\n",
		alone.first.Seconds(), alone.save.Seconds(), alone.after.Seconds())
	var most int64
	for _, pid := range w.lab.GPU.ProcessesThat(func(name string) bool { return strings.HasPrefix(name, "keyway-") }) {
		peak, err := procField(pid, "status", "VmHWM")
		if err != nil {
			return err
		}
		most = max(most, peak)
	}
	if most == 0 {
		return errors.New("no node runs")
	}
	w.targets.add(fmt.Sprintf("the node ≤ %d MiB resident at its peak, after all of this", targetNode>>20), fmt.Sprintf("%.1f MiB", float64(most)/(1<<20)), most <= targetNode)
	return nil
}

// daemonAlone has the times of dockerd itself for the image.
type daemonAlone struct {
	first, save time.Duration // until docker save writes its first byte, and its last
	after       time.Duration // time of docker load after the last byte
}

// Scripts on the GPU machine, which print moments in nanoseconds.
const (
	savedAlone  = `now() { date +%s%N; }; now; docker save "$1" | { head -c 1 >/dev/null; now; cat >/dev/null; now; }`
	loadedAlone = `now() { date +%s%N; }; { cat /srv/copied.tar; now >&2; } | docker load -q 2>&1 >/dev/null; now >&2`
)

func (w *templateBench) daemonAlone() (daemonAlone, error) {
	var first, save, after []time.Duration
	for range w.bulk {
		at, err := w.moments(3, "sh", "-c", savedAlone, "sh", copiedImage)
		if err != nil {
			return daemonAlone{}, err
		}
		first, save = append(first, at[1]-at[0]), append(save, at[2]-at[0])
		if _, err := w.lab.Docker("rmi", copiedImage); err != nil {
			return daemonAlone{}, err
		}
		if at, err = w.moments(2, "sh", "-c", "{ "+loadedAlone+"; } 2>&1"); err != nil {
			return daemonAlone{}, err
		}
		after = append(after, at[1]-at[0])
	}
	return daemonAlone{median(first), median(save), median(after)}, nil
}

// moments runs a program on the GPU machine that prints that many moments.
func (w *templateBench) moments(n int, name string, args ...string) ([]time.Duration, error) {
	out, err := w.lab.GPU.Output(name, args...)
	if err != nil {
		return nil, err
	}
	var at []time.Duration
	for word := range strings.FieldsSeq(out) {
		ns, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s says %q: %w", name, out, err)
		}
		at = append(at, time.Duration(ns))
	}
	if len(at) != n {
		return nil, fmt.Errorf("%s says %q", name, out)
	}
	return at, nil
}

func (w *templateBench) makeCopied() error {
	for _, args := range [][]string{
		{"run", "--name", "fill", string(lab.Busybox), "dd", "if=/dev/urandom", "of=/layer", "bs=1M", "count=" + strconv.Itoa(copiedMiB)},
		{"commit", "fill", copiedImage}, {"rm", "fill"}, {"save", "-o", "/srv/copied.tar", copiedImage},
	} {
		if _, err := w.lab.Docker(args...); err != nil {
			return err
		}
	}
	return check(w.laptop("scp", "-q", "gpu1:/srv/copied.tar", "/tmp/copied.tar"))
}

// copyOver measures over one line, and adds a row to the notes and four targets.
func (w *templateBench) copyOver(ctx context.Context, l line, alone daemonAlone) error {
	connect, err := w.timed(ctx, w.lab.Laptop, w.bulk, []string{"ssh", "gpu1", "true"})
	if err != nil {
		return err
	}
	st, err := os.Stat(w.lab.Laptop.Path("/tmp/copied.tar"))
	if err != nil {
		return err
	}
	moved, err := w.timed(ctx, w.lab.Laptop, w.bulk,
		[]string{"sh", "-c", "ssh gpu1 docker save " + copiedImage + " >/tmp/saved.tar"},
		[]string{"scp", "-q", "gpu1:/srv/copied.tar", "/tmp/scp.tar"},
		[]string{"scp", "-q", "/tmp/copied.tar", "gpu1:/srv/scp.tar"})
	if err != nil {
		return err
	}
	rates := make([]float64, len(moved))
	for i, d := range moved {
		rates[i] = mib(st.Size()) / (d - connect[0]).Seconds()
	}
	from, err := w.copyRate(ctx, "gpu1", "/tmp/image.tar", copiedImage)
	if err != nil {
		return err
	}
	to, err := w.copyRate(ctx, "/tmp/image.tar", "gpu1", copiedImage)
	if err != nil {
		return err
	}
	fmt.Fprintf(&w.notes, "| round trips: %s | %.0f MiB/s | %.0f MiB/s | %.0f MiB/s | %.0f MiB/s | %.0f MiB/s |\n", l.name, rates[0], rates[1], from, rates[2], to)
	w.targets.add(fmt.Sprintf("`image copy` from the GPU machine ≥ %.1f of `scp`; round trips: %s", targetCopy, l.name), fmt.Sprintf("%.2f", from/rates[1]), from/rates[1] >= targetCopy)
	w.targets.add(fmt.Sprintf("`image copy` to the GPU machine ≥ %.1f of `scp`; round trips: %s", targetCopy, l.name), fmt.Sprintf("%.2f", to/rates[2]), to/rates[2] >= targetCopy)
	size := mib(st.Size())
	for _, c := range []struct {
		way       string
		got, scp  float64
		wait      time.Duration
		whichWait string
	}{
		{"from", from, rates[1], alone.first, "`docker save` writes nothing"}, {"to", to, rates[2], alone.after, "`docker load` has all"},
	} {
		least := size / (size/c.scp + c.wait.Seconds())
		w.targets.add(fmt.Sprintf("the same %s there ≥ %.1f of what `scp` leaves with the time in which %s (%.0f MiB/s)", c.way, targetCopy, c.whichWait, least),
			fmt.Sprintf("%.2f", c.got/least), c.got/least >= targetCopy)
	}
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// copyRate returns the MiB that image copy moves each second, of those that it reports as sent. If
// the destination is the GPU machine, the image is removed there before.
func (w *templateBench) copyRate(ctx context.Context, from, to, image string) (float64, error) {
	var rates []time.Duration // for a GiB
	for range w.bulk {
		if to == "gpu1" {
			if _, err := w.lab.Docker("rmi", image); err != nil {
				return 0, err
			}
		}
		cmd := w.laptop("keyway", "image", "copy", from, to, image, "--json")
		began := time.Now()
		out, err := cmd.Output()
		took := time.Since(began)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return 0, fmt.Errorf("image copy %s %s: %w", from, to, err)
		}
		var told struct{ Bytes int64 }
		if err := json.Unmarshal(out, &told); err != nil || told.Bytes < copiedMiB<<20 {
			return 0, fmt.Errorf("image copy %s %s sent %d bytes: %w", from, to, told.Bytes, err)
		}
		rates = append(rates, time.Duration(float64(took)*(1<<30)/float64(told.Bytes)))
	}
	return 1024 / median(rates).Seconds(), nil
}
