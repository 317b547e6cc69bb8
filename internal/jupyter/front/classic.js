// Gives the cells that run their callbacks back, and asks for all they have shown.
require(['base/js/namespace', 'base/js/events'], function (Jupyter, events) {
  'use strict';
  var resumed = {}; // by session: a page that reconnects gets what it missed by itself

  function cellOf(execution) {
    return Jupyter.notebook.get_cells().find(function (cell) {
      return cell.cell_type === 'code' && !cell.keywayResumed &&
        (execution.cell ? cell.id === execution.cell : cell.get_text() === execution.code);
    });
  }

  function resume() {
    var kernel = Jupyter.notebook && Jupyter.notebook.kernel;
    if (!kernel || !kernel.id || !Jupyter.notebook._fully_loaded || resumed[kernel.session_id]) return;
    resumed[kernel.session_id] = true;
    var at = Jupyter.notebook.base_url + 'keyway/';
    var query = '?kernel=' + encodeURIComponent(kernel.id);
    fetch(at + 'executions' + query, { credentials: 'same-origin' }).then(function (answer) {
      return answer.ok ? answer.json() : [];
    }).then(function (executions) {
      executions.forEach(function (execution) {
        var cell = cellOf(execution);
        if (!cell || kernel.get_callbacks_for_msg(execution.msg_id)) return;
        cell.keywayResumed = true;
        cell.set_input_prompt('*');
        cell.element.addClass('running');
        cell.last_msg_id = execution.msg_id;
        kernel.set_callbacks_for_msg(execution.msg_id, cell.get_callbacks());
        fetch(at + 'resume' + query + '&session=' + encodeURIComponent(kernel.session_id) +
          '&execution=' + encodeURIComponent(execution.msg_id), { method: 'POST', credentials: 'same-origin' });
      });
    });
  }

  ['kernel_ready.Kernel', 'kernel_connected.Kernel', 'notebook_loaded.Notebook'].forEach(function (event) {
    events.on(event, resume);
  });
  resume();
});
