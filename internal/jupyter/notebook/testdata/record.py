# Records testdata/messages.json: record.py FILE. It was run with ipykernel 6.17, numpy 1.24,
# matplotlib 3.6 and pandas 1.5, which the tests do not need.
import json, sys
from jupyter_client.manager import start_new_kernel
cells = {
"numpy": "import numpy as np\nprint(np.arange(6).reshape(2,3)); np.linspace(0, 1, 3)",
"matplotlib": "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.rcParams['figure.dpi']=30\nplt.plot([1,2,3],[2,1,3]); plt.title('x'); plt.show()",
"pandas": "import pandas as pd\npd.DataFrame({'a':[1,2],'b':['<x>','é']})",
"latex": "from IPython.display import Latex, Math, HTML, SVG, Markdown, JSON, display\ndisplay(Latex(r'$\\int_0^1 x\\,dx$'), HTML('<b>x</b>'), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>'), Markdown('**x**'), JSON({'a':[1,None]}))",
"error": "def f(x):\n    return 1/x\nf(0)",
"update": "h = display('bar 0', display_id='the-bar')\nfor i in range(5): h.update('bar %d' % i)",
"clear": "from IPython.display import clear_output\nfor i in range(5):\n    clear_output(wait=True); plt.plot([i, 2*i]); plt.show(); print('round', i)",
}
km, kc = start_new_kernel()
out = {}
for name, code in cells.items():
    id = kc.execute(code)
    all = []
    while True:
        m = kc.get_iopub_msg(timeout=120)
        if m["parent_header"].get("msg_id") != id: continue
        if m["msg_type"] == "status":
            if m["content"]["execution_state"] == "idle": break
            continue
        all.append({"msg_type": m["msg_type"], "content": m["content"]})
    out[name] = all
kc.stop_channels(); km.shutdown_kernel(now=True)
json.dump(out, open(sys.argv[1], "w"), indent=0, ensure_ascii=False, sort_keys=True)
