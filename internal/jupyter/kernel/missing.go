package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/jupyter/wire"
)

// numbering finds messages that a kernel has sent and that did not arrive. jupyter_client, which
// ipykernel and most other kernels in Python use, gives a message the ID SESSION_PROCESS_NUMBER, and
// counts all that it sends. Other IDs prove nothing.
type numbering struct {
	sender string // SESSION_PROCESS of the last output or status
	number uint64
	parent string // the execution that it belongs to
	others uint64 // later ones that came on other channels: prompts of input(), replies
}

// leastMissing is the smallest gap in the numbers that proves a loss within an execution. Smaller ones
// are usual: IPython also counts a result that it does not show, and a reply may come after the
// status that follows it.
const leastMissing = 3

// missingText marks the place at which messages are missing.
const missingText = "\n[about %d messages of the kernel are missing here: the Jupyter server read too slowly, and ZeroMQ dropped them]\n"

// missing returns how many messages of the same execution are missing between the last output or
// status and m; 0 if a loss is not proved.
func (n *numbering) missing(m wire.Message) (count uint64) {
	i := strings.LastIndexByte(m.Head.ID, '_')
	number, err := strconv.ParseUint(m.Head.ID[i+1:], 10, 64)
	if i < 0 || err != nil {
		return 0
	}
	now := numbering{sender: m.Head.ID[:i], number: number, parent: m.Origin.ID}
	later := now.sender == n.sender && number > n.number
	if m.Channel != "iopub" {
		if later {
			n.others++
		}
		return 0
	}
	if later && now.parent == n.parent {
		count = number - n.number - 1
		count -= min(count, n.others)
	}
	*n = now
	if count < leastMissing {
		return 0
	}
	return count
}

// tellMissing returns the batch, with an output at each place where messages are missing.
func (n *numbering) tellMissing(batch []wire.Message) []wire.Message {
	for i := 0; i < len(batch); i++ {
		m := batch[i]
		if count := n.missing(m); count > 0 {
			told := wire.Text{Name: "stderr", Text: fmt.Sprintf(missingText, count)}
			batch = slices.Insert(batch, i, wire.New(m.Head.Session, m.Parent, "iopub", "stream", told))
			i++
		}
	}
	return batch
}
