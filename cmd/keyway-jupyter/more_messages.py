# Written by keyway-jupyter for the Jupyter server that it starts, which reads it as configuration.
# Sockets for the output of kernels keep 100,000 messages instead of 1,000 before ZeroMQ drops any.
import os

try:
    import zmq

    if not hasattr(zmq.Context.socket, "of_keyway"):
        plain_socket = zmq.Context.socket

        def socket(self, socket_type, *args, **kwargs):
            made = plain_socket(self, socket_type, *args, **kwargs)
            if socket_type == zmq.SUB:
                made.setsockopt(zmq.RCVHWM, 100_000)
            return made

        socket.of_keyway = True
        zmq.Context.socket = socket
except Exception as e:
    print("keyway-jupyter: ZeroMQ's limits stay as they are:", e)

# The kernels inherit the server's environment, and must not read this.
ours = os.path.dirname(__file__)
paths = [p for p in os.environ.get("JUPYTER_CONFIG_PATH", "").split(":") if p != ours]
os.environ["JUPYTER_CONFIG_PATH"] = ":".join(paths)
if not any(paths):
    del os.environ["JUPYTER_CONFIG_PATH"]
