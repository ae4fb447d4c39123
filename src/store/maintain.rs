//! Merging of small blocks, and retention.
//!
//! A seal writes blocks of a short time and many series. To read a day of one series from those alone would
//! open one for each seal of that day. So when a day has [`FAN`] seals at one level, their blocks are
//! merged, lane by lane, to blocks of the next level: a longer time of fewer series in as many samples. All blocks of
//! a level were written before all blocks of the levels below it, and keep the order in which they are right.

use super::block;
use super::schema::io;
use super::shared::Shared;
use super::sorted::{Lane, Sorted};
use super::writer::{NewBlock, compress, insert_block};
use rusqlite::{TransactionBehavior, params};
use std::sync::atomic::Ordering;
use vitals_core::columns::Columns;
use vitals_core::ids::UnixNanos;
use vitals_core::store::StoreError;

/// Seals, or merges, of one level and day that are merged to the next level. Fewer in tests, to get there.
pub(super) const FAN: i64 = if cfg!(test) { 8 } else { 64 };
/// Blocks of this level are not merged any more.
const TOP: u32 = 2;
/// Samples that one step of a merge holds in memory at most. Fewer in tests, to get there.
const MERGE_ROWS: usize = if cfg!(test) { 48 } else { 1 << 20 };
/// Rows that one deletion takes at most, so that seals do not wait behind it.
const DELETE_ROWS: usize = 4096;
const DELETE_BLOCKS: usize = 256;
const DAY: i64 = 86_400 * UnixNanos::SECOND;

/// A block of the file, without its body.
#[derive(Clone, Debug)]
struct OldBlock {
    id: i64,
    seq: i64,
    lane: Lane,
    samples: usize,
}

/// What is being merged.
#[derive(Clone, Copy)]
struct Target {
    day: i64,
    level: u32,
    seq: i64,
}

impl Shared {
    /// Merges what has become too many blocks.
    pub(super) fn merge(&self) -> Result<(), StoreError> {
        for level in 0..TOP {
            for day in self.crowded_days(level)? {
                if self.closing.load(Ordering::Acquire) {
                    return Ok(());
                }
                let blocks = self.blocks_at(day, level)?;
                let Some(seq) = blocks.iter().map(|block| block.seq).min() else { continue };
                let all = Lane { first: 0, last: u32::MAX };
                self.merge_lane(Target { day, level: level + 1, seq }, all, blocks)?;
                metrics::counter!("vitals_store_merges_total").increment(1);
            }
        }
        Ok(())
    }

    fn crowded_days(&self, level: u32) -> Result<Vec<i64>, StoreError> {
        let writer = self.writer.lock();
        let sql = "SELECT day FROM block WHERE level = ?1 GROUP BY day HAVING count(DISTINCT seq) >= ?2";
        let mut statement = writer.connection.prepare_cached(sql).map_err(io)?;
        let days = statement.query_map(params![level, FAN], |row| row.get(0)).map_err(io)?;
        days.collect::<Result<_, _>>().map_err(io)
    }

    fn blocks_at(&self, day: i64, level: u32) -> Result<Vec<OldBlock>, StoreError> {
        let writer = self.writer.lock();
        let sql = "SELECT id, seq, first, last, samples FROM block WHERE day = ?1 AND level = ?2 ORDER BY seq";
        let mut statement = writer.connection.prepare_cached(sql).map_err(io)?;
        let blocks = statement
            .query_map(params![day, level], |row| {
                let lane = Lane { first: row.get(2)?, last: row.get(3)? };
                Ok(OldBlock {
                    id: row.get(0)?,
                    seq: row.get(1)?,
                    lane,
                    samples: row.get::<_, i64>(4)?.cast_unsigned() as usize,
                })
            })
            .map_err(io)?;
        blocks.collect::<Result<_, _>>().map_err(io)
    }

    /// Merges blocks within `lane`, in halves if they are too many for one step.
    fn merge_lane(&self, target: Target, lane: Lane, mut blocks: Vec<OldBlock>) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let samples: usize = blocks.iter().map(|block| block.samples).sum();
        if samples <= MERGE_ROWS {
            let sorted = self.read_all(&blocks)?;
            let lanes = sorted.lanes(self.config.block_samples);
            let merged = lanes
                .into_iter()
                .map(|(lane, runs)| {
                    compress(&sorted, lane, runs, target.day, target.level).map(|block| (target.seq, block))
                })
                .collect::<Result<Vec<_>, _>>()?;
            self.replace(&blocks, merged).map(drop)
        } else if let Some((left, right)) = lane.halves() {
            let (across, within): (Vec<_>, _) = blocks.into_iter().partition(|block| block.lane == lane);
            blocks = within;
            for block in across {
                blocks.extend(self.split(target, left, block)?);
            }
            blocks.sort_by_key(|block| block.seq);
            let (in_left, in_right) = blocks.into_iter().partition(|block| left.holds(block.lane));
            self.merge_lane(target, left, in_left)?;
            self.merge_lane(target, right, in_right)
        } else {
            // One series, sampled so often that its blocks are large already.
            self.promote(target, &blocks)
        }
    }

    /// Writes a block again as two, at its own level and with its own place in the order.
    fn split(&self, target: Target, left: Lane, block: OldBlock) -> Result<Vec<OldBlock>, StoreError> {
        let seq = block.seq;
        let sorted = self.read_all(std::slice::from_ref(&block))?;
        let middle = sorted.runs.partition_point(|run| run.series <= left.last);
        let mut halves = Vec::new();
        for runs in [0..middle, middle..sorted.runs.len()] {
            if !runs.is_empty() {
                // The smallest lane that holds these rows, so that it need not be split again on the way down.
                let lane = Lane::around(sorted.runs[runs.start].series, sorted.runs[runs.end - 1].series);
                halves.push((seq, compress(&sorted, lane, runs, target.day, target.level - 1)?));
            }
        }
        self.replace(&[block], halves)
    }

    fn read_all(&self, blocks: &[OldBlock]) -> Result<Sorted, StoreError> {
        let mut chunks: Vec<Columns> = Vec::with_capacity(blocks.len());
        for block in blocks {
            let body: Vec<u8> = self
                .writer
                .lock()
                .connection
                .prepare_cached("SELECT body FROM block WHERE id = ?1")
                .and_then(|mut statement| statement.query_row([block.id], |row| row.get(0)))
                .map_err(io)?;
            chunks.push(block::decode(&body).map_err(|error| StoreError::Damaged(error.to_string()))?);
        }
        Ok(Sorted::from_chunks(&chunks))
    }

    /// Puts new blocks in place of old ones, all or nothing.
    fn replace(&self, old: &[OldBlock], new: Vec<(i64, NewBlock)>) -> Result<Vec<OldBlock>, StoreError> {
        let mut writer = self.writer.lock();
        let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        let mut written = Vec::with_capacity(new.len());
        for (seq, block) in new {
            insert_block(&transaction, seq, &block)?;
            let id = transaction.last_insert_rowid();
            written.push(OldBlock { id, seq, lane: block.lane, samples: block.samples });
        }
        for block in old {
            let mut statement = transaction.prepare_cached("DELETE FROM block WHERE id = ?1").map_err(io)?;
            statement.execute([block.id]).map_err(io)?;
        }
        transaction.commit().map_err(io)?;
        drop(writer);
        self.samples.fetch_add(written.iter().map(|block| block.samples as u64).sum(), Ordering::Relaxed);
        self.samples.fetch_sub(old.iter().map(|block| block.samples as u64).sum(), Ordering::Relaxed);
        Ok(written)
    }

    fn promote(&self, target: Target, blocks: &[OldBlock]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        for block in blocks {
            let mut statement = transaction.prepare_cached("UPDATE block SET level = ?2 WHERE id = ?1").map_err(io)?;
            statement.execute(params![block.id, target.level]).map_err(io)?;
        }
        transaction.commit().map_err(io)
    }

    /// Deletes what is older than the retention.
    pub(super) fn expire(&self, now: UnixNanos) -> Result<(), StoreError> {
        let before = |days: u32| now.plus(-i64::from(days).saturating_mul(DAY)).0;
        // What is still to be sent is the other store's to forget.
        if self.outbox.is_none() {
            let day = super::sorted::day_of(before(self.config.sample_retention_days));
            while self.expire_blocks(day)? == DELETE_BLOCKS {}
        }
        let verdicts = before(self.config.verdict_retention_days);
        let sessions = before(self.config.session_retention_days);
        let delete = |table: &str, key: &str, old: &str, time: i64| -> Result<(), StoreError> {
            let sql = format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {old} LIMIT {DELETE_ROWS})"
            );
            loop {
                let writer = self.writer.lock();
                let mut statement = writer.connection.prepare_cached(&sql).map_err(io)?;
                if statement.execute([time]).map_err(io)? < DELETE_ROWS {
                    return Ok(());
                }
            }
        };
        // Spelled by tenant and kind, so that the index finds what is old.
        let old = "tenant IN (SELECT id FROM tenant) AND kind IN (0, 1, 2) AND time < ?1";
        if self.outbox.is_none() {
            delete("verdict", "agent, kind, time, plugin, series", old, verdicts)?;
        }
        delete("interval", "agent, start", "end IS NOT NULL AND end < ?1", sessions)?;
        delete("window", "id", "end < ?1", sessions)?;
        delete("audit", "tenant, at, id", "tenant IN (SELECT id FROM tenant) AND at < ?1", sessions)?;
        delete("alert", "id", "resolved IS NOT NULL AND resolved < ?1", sessions)
    }

    fn expire_blocks(&self, day: i64) -> Result<usize, StoreError> {
        let writer = self.writer.lock();
        let sql = format!(
            "DELETE FROM block WHERE id IN (SELECT id FROM block WHERE day < ?1 LIMIT {DELETE_BLOCKS}) RETURNING samples"
        );
        let mut statement = writer.connection.prepare_cached(&sql).map_err(io)?;
        let deleted = statement.query_map([day], |row| row.get::<_, i64>(0)).map_err(io)?;
        let deleted: Vec<i64> = deleted.collect::<Result<_, _>>().map_err(io)?;
        self.samples.fetch_sub(deleted.iter().sum::<i64>().cast_unsigned(), Ordering::Relaxed);
        Ok(deleted.len())
    }
}
