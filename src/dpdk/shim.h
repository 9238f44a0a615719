/* What Rust needs of DPDK and bindgen cannot give it: macros, thread-local variables, bit fields, and structs that
 * changed between 22.11 and 24.11. Each function here is `static inline`; bindgen writes its wrapper. */
#pragma once

#include <stddef.h>
#include <string.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_thash.h>

/* Where the fields of an mbuf lie: read and written by offset, as a 24.11 mbuf is declared with other unions. */
static const size_t TURNOUT_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr);
static const size_t TURNOUT_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off);
static const size_t TURNOUT_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags);
static const size_t TURNOUT_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci);
static const size_t TURNOUT_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type);
static const size_t TURNOUT_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs);
static const size_t TURNOUT_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len);
static const size_t TURNOUT_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len);
static const size_t TURNOUT_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len);

/* Good or bad by one bit each; none or both say nothing of the header's bytes. */
static const uint64_t TURNOUT_MBUF_IP_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t TURNOUT_MBUF_IP_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t TURNOUT_MBUF_IP_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t TURNOUT_MBUF_TAG_TAKEN = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint32_t TURNOUT_MBUF_TUNNEL_MASK = RTE_PTYPE_TUNNEL_MASK;

static const uint16_t TURNOUT_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint32_t TURNOUT_LOG_CRIT = RTE_LOG_CRIT;
static const uint32_t TURNOUT_SOFT_RSS_WORDS = 12;

/* What the hash covers where the NIC can: of IPv4 the addresses, and the ports of TCP and UDP. */
#define TURNOUT_RSS_PORTS (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP)
#define TURNOUT_RSS (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER | TURNOUT_RSS_PORTS)
/* The largest redirection table, that of an E810. */
#define TURNOUT_RETA 2048

struct turnout_port_info {
	uint16_t max_rx_queues, max_tx_queues, reta_size;
	uint8_t hash_key_size;
	uint8_t link_interrupt;
	uint8_t rx_ip, rx_vlan, tx_fast_free, rss_ports;
	uint64_t rss;
	char driver[32];
};

struct turnout_link {
	uint8_t up;
	uint32_t speed_mbps;
};

struct turnout_stats {
	uint64_t ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf;
};

static inline int turnout_errno(void)
{
	return rte_errno;
}

static inline int turnout_mbuf_linearize(struct rte_mbuf *m)
{
	return rte_pktmbuf_linearize(m);
}

static inline int turnout_port_info(uint16_t port, struct turnout_port_info *out)
{
	struct rte_eth_dev_info info;
	memset(&info, 0, sizeof(info));
	memset(out, 0, sizeof(*out));
	int ret = rte_eth_dev_info_get(port, &info);
	if (ret != 0)
		return ret;
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	out->reta_size = info.reta_size;
	out->hash_key_size = info.hash_key_size;
	out->link_interrupt = info.dev_flags != NULL && (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
	out->rx_ip = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;
	out->rx_vlan = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0;
	out->tx_fast_free = (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0;
	out->rss = info.flow_type_rss_offloads & TURNOUT_RSS;
	out->rss_ports = (info.flow_type_rss_offloads & TURNOUT_RSS_PORTS) == TURNOUT_RSS_PORTS;
	if (info.driver_name != NULL)
		strncpy(out->driver, info.driver_name, sizeof(out->driver) - 1);
	return 0;
}

/* For the whole port, whose queues inherit it: `rx_ip` has IPv4 header checksums verified, `rx_vlan` VLAN tags taken off,
 * `fast_free` sent mbufs freed in bulk. With a non-zero `rss` received packets are spread by what of these hash types the NIC has. */
static inline int turnout_port_configure(uint16_t port, uint16_t queues, uint8_t rx_ip, uint8_t rx_vlan,
					 uint8_t fast_free, uint64_t rss)
{
	struct rte_eth_conf conf;
	memset(&conf, 0, sizeof(conf));
	if (rx_ip)
		conf.rxmode.offloads = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	if (rx_vlan)
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	if (fast_free)
		conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	if (rss != 0 && queues > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = rss & TURNOUT_RSS;
	}
	return rte_eth_dev_configure(port, queues, queues, &conf);
}

static inline int turnout_port_adjust_desc(uint16_t port, uint16_t *rx, uint16_t *tx)
{
	return rte_eth_dev_adjust_nb_rx_tx_desc(port, rx, tx);
}

static inline int turnout_port_rss_set(uint16_t port, uint8_t *key, uint8_t key_len)
{
	struct rte_eth_dev_info info;
	struct rte_eth_rss_conf conf;
	memset(&info, 0, sizeof(info));
	memset(&conf, 0, sizeof(conf));
	int ret = rte_eth_dev_info_get(port, &info);
	if (ret != 0)
		return ret;
	conf.rss_key = key;
	conf.rss_key_len = key_len;
	conf.rss_hf = info.flow_type_rss_offloads & TURNOUT_RSS;
	return rte_eth_dev_rss_hash_update(port, &conf);
}

/* `ports`: whether the hash covers the ports of TCP and UDP. */
static inline int turnout_port_rss_get(uint16_t port, uint8_t *key, uint8_t key_len, uint8_t *ports)
{
	struct rte_eth_rss_conf conf;
	memset(&conf, 0, sizeof(conf));
	conf.rss_key = key;
	conf.rss_key_len = key_len;
	int ret = rte_eth_dev_rss_hash_conf_get(port, &conf);
	*ports = (conf.rss_hf & TURNOUT_RSS_PORTS) == TURNOUT_RSS_PORTS;
	return ret;
}

static inline int turnout_port_reta_set(uint16_t port, const uint16_t *queues, uint16_t n)
{
	struct rte_eth_rss_reta_entry64 reta[TURNOUT_RETA / RTE_ETH_RETA_GROUP_SIZE];
	if (n > TURNOUT_RETA)
		return -EINVAL;
	memset(reta, 0, sizeof(reta));
	for (uint16_t i = 0; i < n; i++) {
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = queues[i];
	}
	return rte_eth_dev_rss_reta_update(port, reta, n);
}

static inline int turnout_port_reta_get(uint16_t port, uint16_t *queues, uint16_t n)
{
	struct rte_eth_rss_reta_entry64 reta[TURNOUT_RETA / RTE_ETH_RETA_GROUP_SIZE];
	if (n > TURNOUT_RETA)
		return -EINVAL;
	memset(reta, 0, sizeof(reta));
	for (uint16_t i = 0; i < n; i++)
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
	int ret = rte_eth_dev_rss_reta_query(port, reta, n);
	for (uint16_t i = 0; i < n; i++)
		queues[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return ret;
}

/* `key` has a word more than `words` has, that is `n`, at most TURNOUT_SOFT_RSS_WORDS. */
static inline uint32_t turnout_soft_rss(const uint32_t *words, uint32_t n, const uint8_t *key)
{
	uint32_t input[12], aligned[13];
	memcpy(input, words, n * sizeof(*input));
	memcpy(aligned, key, (n + 1) * sizeof(*aligned));
	return rte_softrss(input, n, (const uint8_t *)aligned);
}

static inline int turnout_port_link(uint16_t port, struct turnout_link *out)
{
	struct rte_eth_link link;
	memset(&link, 0, sizeof(link));
	int ret = rte_eth_link_get_nowait(port, &link);
	out->up = ret == 0 && link.link_status == RTE_ETH_LINK_UP;
	out->speed_mbps = ret != 0 || link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	return ret;
}

static inline int turnout_port_stats(uint16_t port, struct turnout_stats *out)
{
	struct rte_eth_stats stats;
	memset(&stats, 0, sizeof(stats));
	int ret = rte_eth_stats_get(port, &stats);
	out->ipackets = stats.ipackets;
	out->opackets = stats.opackets;
	out->ibytes = stats.ibytes;
	out->obytes = stats.obytes;
	out->imissed = stats.imissed;
	out->ierrors = stats.ierrors;
	out->oerrors = stats.oerrors;
	out->rx_nombuf = stats.rx_nombuf;
	return ret;
}
