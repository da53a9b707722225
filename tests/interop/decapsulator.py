"""A backend's decapsulation: what comes by UDP loses its header of eight octets and is the kernel's own from then on.

Takes GUE on port 19523 and GRE in UDP on port 19522 of every address, as a tunnel of the kernel would, and gives the
packets within to the kernel by a TUN interface. What the kernel answers goes by its routes: this program never sees it.
In Python, because opening such an interface is an ioctl, and our Rust has no unsafe code outside one file.
"""

import fcntl
import os
import selectors
import socket
import struct
import subprocess

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
INTERFACE = "decap"

# What must stand before an IPv4 and an IPv6 packet.
HEADERS = {
    19523: {4: bytes([0x01, 4, 0, 0, 0, 0, 0, 0]), 6: bytes([0x01, 41, 0, 0, 0, 0, 0, 0])},
    19522: {4: bytes([0x20, 0, 0x08, 0x00, 0, 0, 0, 0]), 6: bytes([0x20, 0, 0x86, 0xDD, 0, 0, 0, 0])},
}


def open_tun():
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", INTERFACE.encode(), IFF_TUN | IFF_NO_PI))
    # What comes by the tunnel would come by another interface without it.
    for setting in ("all.rp_filter=0", f"{INTERFACE}.rp_filter=0"):
        subprocess.run(["sysctl", "-q", "-w", f"net.ipv4.conf.{setting}"], check=True)
    subprocess.run(["ip", "link", "set", INTERFACE, "up"], check=True)
    return tun


def main():
    tun = open_tun()
    selector = selectors.DefaultSelector()
    for port in HEADERS:
        for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            listening = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((any_address, port))
            selector.register(listening, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            datagram, sender = key.fileobj.recvfrom(65535)
            header, packet = datagram[:8], datagram[8:]
            version = packet[0] >> 4 if packet else 0
            if header != HEADERS[key.fileobj.getsockname()[1]].get(version):
                print(f"not for us, from {sender}: {datagram.hex()}", flush=True)
                continue
            os.write(tun, packet)


main()
