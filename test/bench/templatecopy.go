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
	for _, l := range lines {
		if err := w.over(l, func() error { return w.copyOver(ctx, l) }); err != nil {
			return err
		}
	}
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

// copyOver measures over one line, and adds a row to the notes and two targets.
func (w *templateBench) copyOver(ctx context.Context, l line) error {
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
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// copyRate is how many MiB each second image copy moves, of those that it says it sent.
// An image that is to come to the GPU machine is removed there before.
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
