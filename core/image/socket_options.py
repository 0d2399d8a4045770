"""The socket options that a supplement may hold: all that can be asked and set again and CRIU's records have not.

Pure data, numbers as in asm-generic/socket.h, linux/in.h, in6.h and tcp.h of Linux 7.3: most of them are not in Python's socket module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

SOL, IP, TCP, IP6 = 1, 0, 6, 41
"""SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6: the levels."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        level, number: of getsockopt(2).
        size: bytes of its number; 0 for bytes of any length, kept as hex digits.
        early: it must be set before the socket is bound.
    """

    level: int
    number: int
    size: int = 4
    early: bool = False


OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        "SO_DEBUG": Option(SOL, 1),
        "SO_TIMESTAMP": Option(SOL, 29),
        "SO_TIMESTAMPNS": Option(SOL, 35),
        "SO_TIMESTAMPING": Option(SOL, 37),
        "SO_TIMESTAMP_NEW": Option(SOL, 63),
        "SO_TIMESTAMPNS_NEW": Option(SOL, 64),
        "SO_TIMESTAMPING_NEW": Option(SOL, 65),
        "SO_RXQ_OVFL": Option(SOL, 40),
        "SO_WIFI_STATUS": Option(SOL, 41),
        "SO_PEEK_OFF": Option(SOL, 42),
        "SO_NOFCS": Option(SOL, 43),
        "SO_SELECT_ERR_QUEUE": Option(SOL, 45),
        "SO_BUSY_POLL": Option(SOL, 46),
        "SO_MAX_PACING_RATE": Option(SOL, 47, 8),
        "SO_INCOMING_CPU": Option(SOL, 49),
        "SO_ZEROCOPY": Option(SOL, 60),
        "SO_TXTIME": Option(SOL, 61, 8),
        "SO_PREFER_BUSY_POLL": Option(SOL, 69),
        "SO_RESERVE_MEM": Option(SOL, 73),
        "SO_TXREHASH": Option(SOL, 74),
        "SO_RCVMARK": Option(SOL, 75),
        "SO_RCVPRIORITY": Option(SOL, 82),
        "SO_PASSPIDFD": Option(SOL, 76),
        "SO_PASSRIGHTS": Option(SOL, 83),
        "SO_INQ": Option(SOL, 84),
        "SO_RIGHTS_NOTRUNC": Option(SOL, 85),
        "SO_LOCK_FILTER": Option(SOL, 44),
        "IP_OPTIONS": Option(IP, 4, 0),
        "IP_RECVOPTS": Option(IP, 6),
        "IP_RETOPTS": Option(IP, 7),
        "IP_MTU_DISCOVER": Option(IP, 10),
        "IP_RECVERR": Option(IP, 11),
        "IP_RECVTTL": Option(IP, 12),
        "IP_RECVTOS": Option(IP, 13),
        "IP_PASSSEC": Option(IP, 18),
        "IP_TRANSPARENT": Option(IP, 19, early=True),
        "IP_ORIGDSTADDR": Option(IP, 20),
        "IP_MINTTL": Option(IP, 21),
        "IP_CHECKSUM": Option(IP, 23),
        "IP_BIND_ADDRESS_NO_PORT": Option(IP, 24),
        "IP_RECVFRAGSIZE": Option(IP, 25),
        "IP_RECVERR_RFC4884": Option(IP, 26),
        "IP_MULTICAST_IF": Option(IP, 32),
        "IP_MULTICAST_TTL": Option(IP, 33),
        "IP_MULTICAST_LOOP": Option(IP, 34),
        "IP_MULTICAST_ALL": Option(IP, 49),
        "IP_UNICAST_IF": Option(IP, 50),
        "IP_LOCAL_PORT_RANGE": Option(IP, 51),
        "IPV6_2292PKTINFO": Option(IP6, 2),
        "IPV6_2292HOPOPTS": Option(IP6, 3),
        "IPV6_2292DSTOPTS": Option(IP6, 4),
        "IPV6_2292RTHDR": Option(IP6, 5),
        "IPV6_2292HOPLIMIT": Option(IP6, 8),
        "IPV6_FLOWINFO": Option(IP6, 11),
        "IPV6_UNICAST_HOPS": Option(IP6, 16),
        "IPV6_MULTICAST_IF": Option(IP6, 17),
        "IPV6_MULTICAST_HOPS": Option(IP6, 18),
        "IPV6_MULTICAST_LOOP": Option(IP6, 19),
        "IPV6_MTU_DISCOVER": Option(IP6, 23),
        "IPV6_RECVERR": Option(IP6, 25),
        "IPV6_MULTICAST_ALL": Option(IP6, 29),
        "IPV6_ROUTER_ALERT_ISOLATE": Option(IP6, 30),
        "IPV6_RECVERR_RFC4884": Option(IP6, 31),
        "IPV6_FLOWINFO_SEND": Option(IP6, 33),
        "IPV6_RECVPKTINFO": Option(IP6, 49),
        "IPV6_RECVHOPLIMIT": Option(IP6, 51),
        "IPV6_RECVHOPOPTS": Option(IP6, 53),
        "IPV6_HOPOPTS": Option(IP6, 54, 0),
        "IPV6_RTHDRDSTOPTS": Option(IP6, 55, 0),
        "IPV6_RECVRTHDR": Option(IP6, 56),
        "IPV6_RTHDR": Option(IP6, 57, 0),
        "IPV6_RECVDSTOPTS": Option(IP6, 58),
        "IPV6_DSTOPTS": Option(IP6, 59, 0),
        "IPV6_RECVPATHMTU": Option(IP6, 60),
        "IPV6_DONTFRAG": Option(IP6, 62),
        "IPV6_RECVTCLASS": Option(IP6, 66),
        "IPV6_TCLASS": Option(IP6, 67),
        "IPV6_AUTOFLOWLABEL": Option(IP6, 70),
        "IPV6_ADDR_PREFERENCES": Option(IP6, 72),
        "IPV6_MINHOPCOUNT": Option(IP6, 73),
        "IPV6_ORIGDSTADDR": Option(IP6, 74),
        "IPV6_UNICAST_IF": Option(IP6, 76),
        "IPV6_RECVFRAGSIZE": Option(IP6, 77),
        "TCP_MAXSEG": Option(TCP, 2),
        "TCP_SYNCNT": Option(TCP, 7),
        "TCP_LINGER2": Option(TCP, 8),
        "TCP_DEFER_ACCEPT": Option(TCP, 9),
        "TCP_WINDOW_CLAMP": Option(TCP, 10),
        "TCP_QUICKACK": Option(TCP, 12),
        "TCP_CONGESTION": Option(TCP, 13, 0),
        "TCP_THIN_LINEAR_TIMEOUTS": Option(TCP, 16),
        "TCP_THIN_DUPACK": Option(TCP, 17),
        "TCP_USER_TIMEOUT": Option(TCP, 18),
        "TCP_FASTOPEN": Option(TCP, 23),
        "TCP_NOTSENT_LOWAT": Option(TCP, 25),
        "TCP_SAVE_SYN": Option(TCP, 27),
        "TCP_FASTOPEN_CONNECT": Option(TCP, 30),
        "TCP_FASTOPEN_KEY": Option(TCP, 33, 0),
        "TCP_FASTOPEN_NO_COOKIE": Option(TCP, 34),
        "TCP_INQ": Option(TCP, 36),
        "TCP_TX_DELAY": Option(TCP, 37),
        "TCP_RTO_MAX_MS": Option(TCP, 44),
        "TCP_RTO_MIN_US": Option(TCP, 45),
        "TCP_DELACK_MAX_US": Option(TCP, 46),
    }
)
"""Name → option. Those that cannot be asked or set again are in docs/inventory.toml, with the reason."""
